"""Writes docs/configuration.md from hubbub.config; with --check it only says whether the page is up to date."""

import sys
from pathlib import Path

from hubbub.config import Config, settings

PAGE = Path(__file__).parent / "configuration.md"
HEAD = """# Configuration

Every setting can be given in three ways; the first that is there wins:

1. an option of `hubbub serve`, such as `--rate-limit 5`;
2. an environment variable, such as `HUBBUB_RATE_LIMIT=5`;
3. a TOML file named by `--config` or `HUBBUB_CONFIG`, with a table per group:

```toml
[limits]
rate_limit = 5
```

Otherwise the default counts. A setting that does not exist or cannot have its value is one line and exit code 2.
`app.asgi(config)` takes the same settings as `hubbub.Config`; without one it reads the variables.

This page is generated from `src/hubbub/config.py` by `docs/generate_configuration.py`.
"""


def render() -> str:
    lines = [HEAD]
    group = ""
    for setting in settings():
        if setting.group != group:
            group = setting.group
            title = (type(getattr(Config(), group)).__doc__ or "").rstrip(".")
            lines += [f"## `[{group}]`: {title}", "", "| setting | default | what, and why |", "|---|---|---|"]
        lines.append(f"| `{setting.name}` | `{str(setting.default).lower()}` | {setting.help} |")
    text = "\n".join(lines)
    return text.replace("\n## ", "\n\n## ") + "\n"


def main() -> int:
    text = render()
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print("docs/configuration.md is not what config.py says: run `python docs/generate_configuration.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
