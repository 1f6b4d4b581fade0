"""``zcube fabric``: look at one fabric, draw it, prove claims about it, try to break it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli.terminal_style import terminal_style

if TYPE_CHECKING:
    from zcube.fabric.model import Fabric

FabricArgument = Annotated[str, typer.Argument(help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.")]
FailOption = Annotated[
    list[str] | None, typer.Option(help="switch:A3, link:A0-B5, port:A3/12, nic:s3g5, random-links:0.01, random-switches:0.01.")
]
RoutingOption = Annotated[str, typer.Option(help="Routing policy; default: the one of the family.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def load(reference: str, fail: list[str] | None) -> Fabric:
    """Return the fabric of an argument and its ``--fail`` options."""
    from zcube.fabric.catalog import load_fabric

    return load_fabric(reference, fail or ())


def show_command(fabric: FabricArgument, fail: FailOption = None, json: JsonOption = False) -> None:
    """Print counts, ports in use, path lengths, bisection and parallel paths."""
    from zcube.fabric.counts import fabric_counts
    from zcube.outputs import to_json
    from zcube.routing.shape import fabric_shape

    loaded = load(fabric, fail)
    document: dict[str, Any] = {**fabric_counts(loaded), **fabric_shape(loaded)}
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.terminal import counts_lines

    sys.stdout.write(counts_lines(document))


def check_command(
    fabric: FabricArgument, fail: FailOption = None, routing: RoutingOption = "default", json: JsonOption = False
) -> None:
    """Prove claims about a fabric and its routing; exit 1 with a witness where one fails."""
    from zcube.outputs import to_json
    from zcube.routing.catalog import routing_for
    from zcube.routing.claims import check_fabric

    loaded = load(fabric, fail)
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


def draw_command(
    fabric: FabricArgument,
    out: Annotated[Path | None, typer.Option(help="Picture to write, .svg or .png; default FABRIC.svg.")] = None,
    fail: FailOption = None,
) -> None:
    """Draw a fabric tier by tier, repeated parts collapsed."""
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.report.fabric_drawing import draw_fabric
    from zcube.report.picture import FORMATS, save

    path = out or Path(f"{Path(fabric).stem}.svg")
    drawn = [Target("--out", path, FORMATS, lambda loaded, target: save(draw_fabric(loaded), target))]
    check_targets(drawn)
    write_targets(drawn, load(fabric, fail))


def adversary_command(
    fabric: FabricArgument,
    fail: FailOption = None,
    routing: RoutingOption = "default",
    segment: Annotated[
        int | None, typer.Option(help="Consecutive GPUs taken as a segment; give fabrics compared the same.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random patterns and of the search.")] = 0,
    json: JsonOption = False,
) -> None:
    """Show where a fabric loses: permutations, the worst one found by search, and engine-shaped funnels."""
    from zcube.cli.progress import RunProgress
    from zcube.network.adversary.report import adversarial_report
    from zcube.outputs import to_json
    from zcube.routing.catalog import routing_for

    loaded = load(fabric, fail)
    policy = routing_for(loaded, routing, seed=seed)
    with RunProgress("steps") as progress:
        report = adversarial_report(
            loaded, policy, seed, segment, lambda done, total: progress.update(loaded.name, done, total)
        )
    if json:
        sys.stdout.write(to_json(report.document(with_targets=True)))
        return
    from zcube.report.adversary_table import adversary_table

    sys.stdout.write(adversary_table(report))
