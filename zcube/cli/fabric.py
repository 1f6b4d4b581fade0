"""``zcube fabric``: look at one fabric, draw it, prove claims about it, try to break it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.jobs_option import JOBS
from zcube.cli.json_option import JsonOption
from zcube.cli.network_options import (
    CalibrationOption,
    FallBackOption,
    NicRateOption,
    QueuePairsOption,
    RoutingOption,
    network_from,
)
from zcube.cli.terminal_style import terminal_style

if TYPE_CHECKING:
    from zcube.fabric.model import Fabric
    from zcube.fabric.optics import Optics

FabricArgument = Annotated[
    str,
    typer.Argument(
        help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.", autocompletion=completion.fabrics
    ),
]
FailOption = Annotated[
    list[str] | None, typer.Option(help="switch:A3, link:A0-B5, port:A3/12, nic:s3g5, random-links:0.01, random-switches:0.01.")
]
OpticsOption = Annotated[
    str,
    typer.Option(
        help="Rule of cables and modules: paper, all-optical or by-length.",
        autocompletion=completion.one_of(*completion.OPTICS_RULES),
    ),
]
RacksOption = Annotated[Path | None, typer.Option(help="TOML file of the machine room: racks, trays, stocked lengths.")]


def load(reference: str, fail: list[str] | None) -> Fabric:
    """Return the fabric of an argument and its ``--fail`` options."""
    from zcube.fabric.catalog import load_fabric

    return load_fabric(reference, fail or ())


def load_optics(fabric: Fabric, rule: str, racks: Path | None) -> Optics:
    """Return the optics table of ``--optics`` and ``--racks``."""
    from zcube.fabric.optics import optics_of

    if racks is None:
        return optics_of(fabric, rule)
    from zcube.fabric.wiring.rack_layout import load_layout

    return optics_of(fabric, rule, load_layout(racks))


def show_command(
    fabric: FabricArgument,
    fail: FailOption = None,
    optics: OpticsOption = "paper",
    racks: RacksOption = None,
    page: Annotated[Path | None, typer.Option(help="Drawing, counts and shape as one page for a browser, .html.")] = None,
    json: JsonOption = False,
) -> None:
    """Print counts, ports in use, path lengths, bisection and parallel paths."""
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import check_targets, page_target, write_targets
    from zcube.fabric.counts import fabric_counts
    from zcube.outputs import to_json
    from zcube.routing.shape import fabric_shape

    pages = [page_target(page, lambda found: _page(*found))]
    check_targets(pages)
    with RunProgress(compiles=False) as progress:
        progress("building", 0, 0, "")
        loaded = load(fabric, fail)
        document: dict[str, Any] = {
            **fabric_counts(loaded, load_optics(loaded, optics, racks)),
            **fabric_shape(loaded, progress),
        }
    write_targets(pages, (loaded, document))
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.counts_lines import counts_lines

    sys.stdout.write(counts_lines(document))


def _page(fabric: Fabric, document: dict[str, Any]) -> str:
    from zcube.report.fabric_page import fabric_page
    from zcube.report.topology import fabric_section

    return fabric_page(fabric, document, sys.argv[1:], [fabric_section(fabric)])


def check_command(
    fabric: FabricArgument, fail: FailOption = None, routing: RoutingOption = "default", json: JsonOption = False
) -> None:
    """Prove claims about a fabric and its routing; exit 1 with a witness where one fails."""
    from zcube.cli.progress import RunProgress
    from zcube.outputs import to_json
    from zcube.routing.catalog import routing_for
    from zcube.routing.claims import check_fabric

    with RunProgress() as progress:
        progress("building", 0, 0, "")
        loaded = load(fabric, fail)
        policy = routing_for(loaded, routing)
        claims = check_fabric(loaded, policy, progress)
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
    from zcube.report.picture import FORMATS, drawn, is_own_svg

    path = out or Path(f"{Path(fabric).stem}.svg")
    written = [Target("--out", path, FORMATS, drawn(draw_fabric), is_own=None if out else is_own_svg)]
    check_targets(written)
    write_targets(written, load(fabric, fail))


def adversary_command(
    fabric: FabricArgument,
    fail: FailOption = None,
    routing: RoutingOption = "default",
    fall_back: FallBackOption = "none",
    queue_pairs: QueuePairsOption = 2,
    nic_gbps: NicRateOption = None,
    calibration: CalibrationOption = None,
    segment: Annotated[
        int | None, typer.Option(help="Consecutive GPUs taken as a segment; give fabrics compared the same.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random patterns and of the search.")] = 0,
    json: JsonOption = False,
) -> None:
    """Show where a fabric loses: permutations, the worst one found by search, and engine-shaped funnels."""
    given = dict(locals())
    from zcube.calibrate.links import carrier_on
    from zcube.cli.progress import RunProgress
    from zcube.network.adversary.report import adversarial_report
    from zcube.outputs import to_json

    chosen = carrier_on(load(fabric, fail), network_from(given), seed)
    with RunProgress() as progress:
        report = adversarial_report(chosen, segment, progress)
    if json:
        sys.stdout.write(to_json(report.document(with_targets=True)))
        return
    from zcube.report.adversary_table import adversary_table

    sys.stdout.write(adversary_table(report))


def degrade_command(
    fabrics: Annotated[
        list[str],
        typer.Argument(
            help="Bundled topologies or files with failures: roft-4096@switch:leaf0.", autocompletion=completion.fabrics
        ),
    ],
    partners: Annotated[int, typer.Option(min=1, help="Servers that each server sends to at once.")] = 8,
    fall_back: Annotated[
        str, typer.Option(help="For paths lost to failures: nvlink-relay, second-port or none; see docs/models.md.")
    ] = "nvlink-relay",
    queue_pairs: Annotated[int, typer.Option(min=1, max=1024, help="Queue pairs a transfer, where paths are hashed.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the partners and of the hash.")] = 0,
    jobs: Annotated[int | None, JOBS] = None,
    json: JsonOption = False,
) -> None:
    """Compare how much slower transfers between servers get by failures, each fabric with its own routing."""
    from zcube.cli.progress import RunProgress
    from zcube.network.degradation import Degrading, degradations
    from zcube.outputs import to_json
    from zcube.warm import KernelsAhead, needed_groups

    loaded = [load(reference, None) for reference in fabrics]
    asked = Degrading(queue_pairs, fall_back, partners, seed)  # type: ignore[arg-type]
    with KernelsAhead(needed_groups("flow")) as ahead, RunProgress() as progress:
        ahead.wait(progress)
        rows = degradations(loaded, asked, progress, jobs)
    if json:
        documents = [row.document() for row in rows]
        sys.stdout.write(to_json({"partners": partners, "seed": seed, "fall_back": fall_back, "fabrics": documents}))
        return
    from zcube.report.degradation_table import degradation_table

    sys.stdout.write(degradation_table(rows, partners, seed, fall_back))
