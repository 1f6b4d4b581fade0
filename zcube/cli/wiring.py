"""``zcube fabric export|import|verify``: cables as files, and files of what the field has plugged in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli import completion
from zcube.cli.fabric import FabricArgument, JsonOption, OpticsOption, RacksOption, load


def export_command(
    fabric: FabricArgument,
    form: Annotated[
        str, typer.Option("--format", help="schedule, links, simai, ns3, infragraph, graphml, ptm, netbox, ufm or ibdiagnet.")
    ] = "schedule",
    out: Annotated[Path | None, typer.Option(help="File to write; default: stdout.")] = None,
    optics: OpticsOption = "by-length",
    racks: RacksOption = None,
) -> None:
    """Write a fabric as a cable schedule or in an interchange format."""
    from zcube.cli.targets import Target, check_targets
    from zcube.fabric.wiring.formats import FORMATS, export_fabric, fabric_text
    from zcube.fabric.wiring.rack_layout import RackLayout, load_layout

    endings = (FORMATS[form].suffix,) if form in FORMATS else ()
    target = Target("--out", out, endings, lambda result, path: None, any_new_name=True)
    check_targets([target], [path for path in (Path(fabric), racks) if path is not None])
    layout = RackLayout() if racks is None else load_layout(racks)
    loaded = load(fabric, None)
    if out is None:
        sys.stdout.write(fabric_text(loaded, form, layout, optics))
    else:
        export_fabric(loaded, form, out, layout, optics)
        print(f"written: {out}", file=sys.stderr)
    if FORMATS[form].read_links and not FORMATS[form].holds_media:
        print(f"{form} does not say which cables are copper; links and graphml do", file=sys.stderr)


def import_command(
    source: Annotated[
        Path, typer.Argument(help="SimAI or ns-3 topology, ASTRA-sim network, infragraph, GraphML or link list.")
    ],
    topology: Annotated[Path, typer.Argument(help="Topology file to write; the link list is written beside it.")],
    switch_ports: Annotated[
        int | None, typer.Option(min=2, max=4096, help="Ports of every switch; default: 64, more where a switch needs them.")
    ] = None,
    switch_port_gbps: Annotated[
        float | None, typer.Option(min=0.001, max=1e6, help="Native rate of a port, Gb/s; default: 400, or the fastest link.")
    ] = None,
) -> None:
    """Make a topology file of family custom from a file that lists links."""
    from zcube.cli.targets import Target, check_targets
    from zcube.fabric.families.custom import links_beside, lists_links_beside, write_topology

    written = [
        Target("topology", topology, (".toml",), lambda result, path: None),
        Target("links of", links_beside(topology), (".csv",), lambda result, path: None, is_own=lists_links_beside),
    ]
    check_targets(written, [source])
    unstated = write_topology(source, topology, switch_ports, switch_port_gbps)
    print(f"written: {topology}", file=sys.stderr)
    if unstated:
        print(f"{source} does not state the medium of {unstated} cables: rule paper counts them as fibre", file=sys.stderr)


def verify_command(
    plan: Annotated[
        str, typer.Argument(help="Bundled topology, topology file, or a wiring file.", autocompletion=completion.fabrics)
    ],
    found: Annotated[Path, typer.Argument(help="Wiring found in the field: PTM dot, NetBox CSV, LLDP CSV, UFM or ibdiagnet.")],
    exact_names: Annotated[bool, typer.Option(help="Tell upper from lower case and heed domain suffixes.")] = False,
    corrected: Annotated[Path | None, typer.Option(help="CSV file to write: the wiring found, once corrected.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Of --corrected: only the correction's first steps.")] = None,
    json: JsonOption = False,
) -> None:
    """Compare a wiring with the plan: swapped, missing and extra cables with the shortest correction; exit 1 if they differ."""
    from zcube.cli.targets import Target, check_targets
    from zcube.errors import Fault, InputError
    from zcube.fabric.wiring.cabling import EXACT, NameRule, Wiring
    from zcube.fabric.wiring.formats import read_wiring, write_wiring
    from zcube.fabric.wiring.verify import apply_correction, verify
    from zcube.input_files import is_file
    from zcube.outputs import to_json

    target = Target("--corrected", corrected, (".csv",), lambda result, path: None, any_new_name=True)
    check_targets([target], [Path(plan), found])
    is_wiring = is_file(plan) and not plan.endswith(".toml")
    planned = read_wiring(Path(plan)) if is_wiring else Wiring.of(load(plan, None))
    plugged, rule = read_wiring(found), EXACT if exact_names else NameRule()
    report = verify(planned, plugged, rule)
    if steps is not None and corrected is None:
        raise InputError(Fault("--steps", str(steps), "--corrected, the file to write"))
    if corrected is not None:
        write_wiring(apply_correction(plugged, report.correction[:steps], rule), corrected)
        print(f"written: {corrected}", file=sys.stderr)
    if json:
        sys.stdout.write(to_json(report.document()))
    else:
        from zcube.report.wiring_table import wiring_text

        sys.stdout.write(wiring_text(report))
    if not report.agrees:
        raise typer.Exit(1)
