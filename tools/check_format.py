#!/usr/bin/python3
"""Check that clang-format 14 would change nothing, and that no leftover mark stands in a source.

    check_format.py [ROOT]
"""

import pathlib
import re
import shutil
import subprocess
import sys

from check_layers import sources

LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def main(argv):
    root = pathlib.Path(argv[1] if len(argv) > 1 else pathlib.Path(__file__).parent.parent)
    tool = shutil.which("clang-format-14")
    if not tool:
        print("format: clang-format-14 is missing: run 'make setup-test'")
        return 1
    names = sources(root)
    done = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *names], cwd=root, capture_output=True,
                          text=True, check=False)
    failed = done.returncode != 0
    if failed:
        bad = sorted({line.split(":", 1)[0] for line in done.stderr.splitlines() if ": error:" in line})
        print("\n".join(f"{name}: clang-format-14 -i would change it" for name in bad) or done.stderr)
    for name in names:
        for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
            if LEFTOVER.search(line):
                print(f"{name}:{number}: a leftover mark: {line.strip()}")
                failed = True
    if not failed:
        print(f"format: {len(names)} files are as clang-format-14 writes them")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
