"""Writes src/hubbub/codes.py from codes.json; with --check it only says whether the file is up to date."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "src" / "hubbub" / "codes.py"
HEAD = '''"""Close codes and error codes, generated from protocol/codes.json by protocol/generate_codes.py."""

from typing import Final
'''


def render() -> str:
    catalogue = json.loads((HERE / "codes.json").read_text())
    lines = [HEAD]
    for entry in catalogue["close"]:
        lines.append(f"{entry['name']}: Final = {entry['code']}")
        lines.append(f'"""{entry["meaning"]}; the client should: {entry["client"]}."""')
    lines.append("")
    for entry in catalogue["error"]:
        lines.append(f'{entry["code"].upper()}: Final = "{entry["code"]}"')
        lines.append(f'"""{entry["meaning"]}."""')
    return "\n".join(lines) + "\n"


def main() -> int:
    text = render()
    if "--check" not in sys.argv:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        print("src/hubbub/codes.py is not what protocol/codes.json says: run `python protocol/generate_codes.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
