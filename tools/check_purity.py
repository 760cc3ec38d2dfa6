#!/usr/bin/python3
"""Check that the pure folders call nothing impure: no clock, no file, no socket, no lock.

    check_purity.py OBJECT_FOLDER [LIST]

What an object of lib/model, scheduler/core or supervisor/core does not define itself must be defined by
another object of these folders or stand in tools/pure_symbols.txt. A source without its object fails, so
that the check never passes for want of something to look at.
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PURE = ("lib/model", "scheduler/core", "supervisor/core")


def symbols(path, defined):
    """Names that an object defines for others, or needs from others."""
    flag = "--defined-only" if defined else "--undefined-only"
    shown = subprocess.run(["nm", "--extern-only", flag, "--format=posix", str(path)], capture_output=True, text=True,
                           check=True).stdout
    return {line.split()[0] for line in shown.splitlines() if line.strip()}


def allowed_names(path):
    lines = (line.split("#", 1)[0].strip() for line in path.read_text().splitlines())
    return {line for line in lines if line}


def check(objects, allowed):
    """Problems as sentences; `objects` is a list of object files of pure folders."""
    defined = set().union(*(symbols(path, True) for path in objects)) if objects else set()
    problems = []
    for path in objects:
        for name in sorted(symbols(path, False) - defined - allowed):
            problems.append(f"{path}: calls {name}, which is not in tools/pure_symbols.txt")
    return problems


def main(argv):
    folder = pathlib.Path(argv[1])
    allowed = allowed_names(pathlib.Path(argv[2]) if len(argv) > 2 else ROOT / "tools" / "pure_symbols.txt")
    sources = [path.relative_to(ROOT) for name in PURE for path in sorted((ROOT / name).glob("*.c"))]
    objects = [folder / path.with_suffix(".o") for path in sources]
    missing = [str(path) for path in objects if not path.exists()]
    if missing or not objects:
        print("purity: not compiled: " + (", ".join(missing) or "no pure source at all"))
        return 1
    problems = check(objects, allowed)
    print("\n".join(problems) if problems else f"purity: {len(objects)} pure objects call nothing impure")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
