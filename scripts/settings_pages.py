"""docs/settings.md and the end of infra/Pulumi.example.yaml, made from functions/asyouwere/service/settings.py."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "infra"))

from asyouwere.service.auth.token_errors import REASONS  # noqa: E402
from asyouwere.service.settings import VARIABLES, Variable  # noqa: E402
from asyouwere_infra.environment import PLACES, config_key  # noqa: E402

EXAMPLE: Final = ROOT / "infra" / "Pulumi.example.yaml"
#: What follows this line in the example is made here.
MARK: Final = "  # -- The functions' own settings (written by make generate) "

HEAD: Final = """\
# The functions' settings

Environment variables, read once at the first request; an empty one counts as missing. A variable that can't be read
or contradicts another ends every request with a 500 and a line in the log that names it. `asyouwere run` sets them
itself. On Google Cloud each is a setting of the Pulumi stack ([infra/README.md](../infra/README.md)):
`ASYOUWERE_POOL_SIZE` is `asyouwere:poolSize` there, and those marked *derived* follow from the deployment.

This page is written by `make generate` from `functions/asyouwere/service/settings.py`.

| variable | meaning | default |
|---|---|---|
"""
TAIL: Final = """
## Pages in a browser

A page may call the functions if its origin (scheme, host and port, as in the browser's address bar) is listed in
`ASYOUWERE_ALLOWED_ORIGINS`:

```sh
ASYOUWERE_ALLOWED_ORIGINS=https://app.example.com,https://admin.example.com
```

There are no patterns, with one exception for development: where the host is this machine (`localhost`, `127.0.0.1`,
`[::1]`) the port may be `*`, and then stands for any. `asyouwere run` allows these by default, so a page from
`http://localhost:3000` can call what it starts. `*` alone, or in a host's name, is refused. Cookies are never looked
at: what a page may see is decided by the token it sends.

## Why a token was refused

Whoever sends a bad token gets one answer, whatever is wrong with it: 401, `invalid_token`. The request log says why
by one word, the line's member `token`; the token itself is in no log.

| `token` | meaning |
|---|---|
"""


def settings_page() -> str:
    """docs/settings.md."""
    rows = []
    for name, variable in VARIABLES.items():
        marks = [word for word in ("secret", "derived") if getattr(variable, word)]
        meaning = variable.meaning + (f" (*{', '.join(marks)}*)" if marks else "")
        default = variable.otherwise or _shown(variable)
        rows.append(f"| `{name}` | {meaning} | {f'`{default}`' if default else 'none'} |\n")
    return HEAD + "".join(rows) + TAIL + "".join(f"| `{word}` | {why} |\n" for word, why in REASONS.items())


def example_stack() -> str:
    """infra/Pulumi.example.yaml: what is written by hand, then every setting that it does not show."""
    by_hand = EXAMPLE.read_text(encoding="utf-8").partition(MARK)[0]
    lines = [MARK + "-" * (118 - len(MARK))]
    for name, place in PLACES.items():
        key = f"asyouwere:{config_key(name)}:"
        if place.kind == "derived" or f"\n  {key}" in by_hand:
            continue
        variable = VARIABLES[name]
        lines += textwrap.wrap(variable.meaning, 118, initial_indent="  # ", subsequent_indent="  # ")
        if place.kind == "secret":
            lines.append(f"  # {key} a secret: pulumi config set --secret {config_key(name)}")
        else:
            value = variable.otherwise.replace("ASYOUWERE_SUPABASE_URL", "supabaseUrl")
            lines.append(f"  # {key} {_yaml(place.default or value or _shown(variable))}".rstrip())
    return by_hand + "\n".join(lines) + "\n"


def _shown(variable: Variable) -> str:
    """The default as the variable's text would be; "" for none."""
    value = variable.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None or value == frozenset() else str(value)


def _yaml(text: str) -> str:
    """Quoted where YAML would read another type."""
    return f'"{text}"' if text in ("on", "off") or text.replace(".", "").isdigit() else text
