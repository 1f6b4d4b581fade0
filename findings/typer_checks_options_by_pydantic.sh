#!/usr/bin/env bash
# Typer 0.29.2: a program that nowhere uses pydantic loads it as soon as one of its options is parsed; `--help` does not.
#
# Options are checked by a pydantic TypeAdapter each, and the package click is no longer there: Typer has a copy of its own, so
# whoever caught `click.ClickException` catches nothing. While adapters are built PYDANTIC_DISABLE_PLUGINS is set in the
# environment of the whole process, and what stood there before is put back: a type's own `__get_pydantic_core_schema__`, and every
# model that it or another thread makes meanwhile, goes without plugins. From earlier versions one would expect click alone,
# and an environment that parsing leaves as it is. It matters where starts are counted, and where programs read that variable.
#
# Seen: typer 0.29.2: --help loads pydantic False, click False; --count 3 loads pydantic True, click False; variable meanwhile '1', then None
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check typer==0.29.2 pydantic==2.14.4
cat > "$work/app.py" <<'PYTHON'
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

MEANWHILE: list[str | None] = []


class Gbps(float):
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        MEANWHILE.append(os.environ.get("PYDANTIC_DISABLE_PLUGINS"))
        return handler(float)


app = typer.Typer()


@app.command()
def show(count: Annotated[int, typer.Option()] = 1, rate: Annotated[Gbps, typer.Option()] = Gbps(400)) -> None:
    print(count, rate)


try:
    app()
finally:
    after = os.environ.get("PYDANTIC_DISABLE_PLUGINS")
    loaded = f"pydantic {'pydantic' in sys.modules}, click {'click' in sys.modules}"
    print(f"typer {version('typer')}: {loaded}; meanwhile {MEANWHILE[:1]}, then {after}", file=sys.stderr)
PYTHON
unset PYDANTIC_DISABLE_PLUGINS
helped=$("$work/venv/bin/python" "$work/app.py" --help 2>&1 > /dev/null)
parsed=$("$work/venv/bin/python" "$work/app.py" --count 3 2>&1 > /dev/null)
echo "--help:    $helped"
echo "--count 3: $parsed"
[ "$helped" = "typer 0.29.2: pydantic False, click False; meanwhile [], then None" ]
[ "$parsed" = "typer 0.29.2: pydantic True, click False; meanwhile ['1'], then None" ]
