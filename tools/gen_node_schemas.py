"""Write the node kinds' JSON Schemas as one C header: gen_node_schemas.py OUTPUT SCHEMA..."""

import json
import pathlib
import sys

LINE = 100


def c_string(text: str) -> str:
    """The text as adjacent C string literals; only ASCII is left bare, and no digit can follow an octal escape."""
    pieces, piece = [], ""
    for byte in text.encode():
        if byte in b'"\\':
            piece += "\\" + chr(byte)
        elif 0x20 <= byte < 0x7F and byte != ord("?"):
            piece += chr(byte)
        else:
            piece += f"\\{byte:03o}"
        if len(piece) >= LINE:
            pieces.append(piece)
            piece = ""
    pieces.append(piece)
    return "\n\t".join(f'"{piece}"' for piece in pieces)


def main(output: str, *schemas: str) -> None:
    lines = ["/* Made by tools/gen_node_schemas.py from specs/nodes/: X(kind, schema text). */"]
    names = []
    for path in sorted(map(pathlib.Path, schemas)):
        compact = json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"), ensure_ascii=False)
        lines.append(f"static const char wl_schema_{path.stem}[] =\n\t{c_string(compact)};")
        names.append(path.stem)
    rows = " \\\n".join(f'\tX("{name}", wl_schema_{name})' for name in names)
    lines.append(f"#define WL_NODE_SCHEMAS(X) \\\n{rows}")
    pathlib.Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
