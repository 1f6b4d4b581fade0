"""``zcube fabric``: look at one fabric, prove claims about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli.terminal_style import terminal_style

if TYPE_CHECKING:
    from zcube.fabric.model import Fabric

fabric_app = typer.Typer(help="Look at a fabric, check it, draw it, wire it.", no_args_is_help=True, rich_markup_mode=None)

FabricArgument = Annotated[str, typer.Argument(help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.")]
FailOption = Annotated[
    list[str] | None, typer.Option(help="switch:A3, link:A0-B5, port:A3/12, nic:s3g5, random-links:0.01, random-switches:0.01.")
]
RoutingOption = Annotated[str, typer.Option(help="Routing policy; default: the one of the family.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def _load(reference: str, fail: list[str] | None) -> Fabric:
    from zcube.fabric.catalog import load_fabric

    return load_fabric(reference, fail or ())


@fabric_app.command("show")
def show_command(fabric: FabricArgument, fail: FailOption = None, json: JsonOption = False) -> None:
    """Print counts, ports in use, path lengths, bisection and parallel paths."""
    from zcube.fabric.counts import fabric_counts
    from zcube.outputs import to_json
    from zcube.routing.shape import fabric_shape

    loaded = _load(fabric, fail)
    document: dict[str, Any] = {**fabric_counts(loaded), **fabric_shape(loaded)}
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.terminal import counts_lines

    sys.stdout.write(counts_lines(document))


@fabric_app.command("check")
def check_command(
    fabric: FabricArgument, fail: FailOption = None, routing: RoutingOption = "default", json: JsonOption = False
) -> None:
    """Prove claims about a fabric and its routing; exit 1 with a witness where one fails."""
    from zcube.outputs import to_json
    from zcube.routing.catalog import routing_for
    from zcube.routing.claims import check_fabric

    loaded = _load(fabric, fail)
    policy = routing_for(loaded, routing)
    claims = check_fabric(loaded, policy)
    if json:
        rows = [{"name": c.name, "statement": c.statement, "holds": c.holds, "evidence": c.evidence} for c in claims]
        sys.stdout.write(to_json({"fabric": loaded.name, "routing": policy.name, "claims": rows}))
    else:
        from zcube.report.claims_table import claims_table

        sys.stdout.write(claims_table(loaded.name, policy.name, claims, **terminal_style()))
    if any(claim.holds is False for claim in claims):
        raise typer.Exit(1)
