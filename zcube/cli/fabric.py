"""``zcube fabric``: look at one fabric."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

fabric_app = typer.Typer(help="Look at a fabric.", no_args_is_help=True, rich_markup_mode=None)


@fabric_app.callback()
def _group() -> None:
    """Keep ``show`` a verb of its own while it is the only one."""


@fabric_app.command("show")
def show_command(
    fabric: Annotated[str, typer.Argument(help="Bundled topology or file.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Print a fabric's counts: GPUs, switches by role, ports in use, links by kind."""
    from zcube.fabric.catalog import load_fabric
    from zcube.fabric.counts import fabric_counts
    from zcube.outputs import to_json

    counts = fabric_counts(load_fabric(fabric))
    if json:
        sys.stdout.write(to_json(counts))
        return
    from zcube.report.terminal import counts_lines

    sys.stdout.write(counts_lines(counts))
