#!/usr/bin/python3
"""Check that no C function is longer than 60 lines.

    check_lengths.py [ROOT]

In our format the braces of a function stand alone in the first column, and only they do: the lines between
are counted. Tables open with `= {` and are not functions, so they may be as long as they need.
"""

import pathlib
import sys

from check_layers import sources

LIMIT = 60


def long_functions(text):
    """(line, length) of each function above the limit."""
    found, start = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            length = number - start - 1
            if length > LIMIT:
                found.append((start, length))
            start = None
    return found


def main(argv):
    root = pathlib.Path(argv[1] if len(argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems = [f"{name}:{line}: a function of {length} lines; the limit is {LIMIT}" for name in sources(root)
                for line, length in long_functions((root / name).read_text(errors="replace"))]
    print("\n".join(problems) if problems else f"lengths: no function is longer than {LIMIT} lines")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
