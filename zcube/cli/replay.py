"""``zcube replay``: listed transfers, or a communication trace, over one fabric."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.json_option import JsonOption
from zcube.cli.network_options import (
    OF_PACKETS,
    CalibrationOption,
    DrawsOption,
    FallBackOption,
    FidelityOption,
    IsolationOption,
    MemoryOption,
    MostPathsOption,
    NicRateOption,
    PathSplitOption,
    QueuePairsOption,
    RoutingOption,
    SkipOption,
    network_from,
    told_by_options,
)
from zcube.memory import MOST_JOBS

if TYPE_CHECKING:
    from zcube.cli.targets import Target
    from zcube.errors import Fault
    from zcube.network.carrier import Carrier
    from zcube.replays.banded import ReplayTask

TABLES = (".csv", ".parquet")

#: What each kind of target and option is for, as faults call what they find instead and what they expect.
TRANSFERS, TRACE, PACKETS = "transfers", "trace", "packets"

TraceArgument = Annotated[
    Path,
    typer.Argument(
        help="Transfers, CSV or Parquet: src,dst,bytes,start_s[,id,cap_gbps,weight,coflow]; or a trace of zcube trace."
    ),
]
FabricOption = Annotated[
    str,
    typer.Option(
        help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.", autocompletion=completion.fabrics
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the hash.")]
ControlOption = Annotated[
    str | None,
    typer.Option(help="Packets: dcqcn (default), dcqcn_nvidia, swift, hpcc, nscc, mrc, none, or one that a package brings."),
]
CellOption = Annotated[
    int | None, typer.Option(help="Packets: payload of packets simulated as one; for transfers of many megabytes.")
]
PacketOption = Annotated[
    list[str] | None, typer.Option("--packet-set", metavar="KEY=VALUE", help="Packets: any parameter; see docs/packets.md.")
]
CollectiveOption = Annotated[
    list[str] | None,
    typer.Option(help="Of a trace: NAME=ALGORITHM, e.g. all-reduce=ring; see docs/traces.md. May be repeated."),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option(
        help="Of a trace: trace of the same job with recorded durations, held against simulated ones; default: its own."
    ),
]
FirstServerOption = Annotated[int, typer.Option(min=0, help="Of a trace: server of its first node.")]
StrideOption = Annotated[int, typer.Option(min=1, help="Of a trace: servers from one of its nodes to the next.")]
BinOption = Annotated[float, typer.Option(min=0.0, help="Width of the bins of --bins-out, seconds.")]
QuantumOption = Annotated[
    float, typer.Option(min=0.0, help="Solve events within this time as one; 0 is exact, see docs/replay.md.")
]
OutOption = Annotated[Path | None, typer.Option(help="Per-flow table to write, .csv or .parquet.")]
LinksOption = Annotated[Path | None, typer.Option(help="Per-link table to write, .csv or .parquet.")]
PathsOption = Annotated[Path | None, typer.Option(help="Links each flow took, .csv or .parquet.")]
BinsOption = Annotated[Path | None, typer.Option(help="Bytes per link and bin of time, .csv or .parquet; needs --bin-s.")]
OperationsOption = Annotated[Path | None, typer.Option(help="Of a trace: per-operation table, .csv or .parquet.")]
ChromeOption = Annotated[Path | None, typer.Option(help="Of a trace: timeline for Perfetto, .json.")]
JOBS_OF_DRAWS = typer.Option(min=1, max=MOST_JOBS, help="Runs of --calibration-draws at a time, in processes of their own.")
PortsOption = Annotated[Path | None, typer.Option(help="Packets: pauses and queues per port, .csv or .parquet.")]
PausesOption = Annotated[Path | None, typer.Option(help="Packets: pause by pause, .csv or .parquet.")]
PictureOption = Annotated[Path | None, typer.Option(help="Packets: ports over time, .png or .svg; needs --bin-s.")]
TreeOption = Annotated[Path | None, typer.Option(help="Packets: congestion trees, .png, .svg, .txt or .csv.")]
PageOption = Annotated[Path | None, typer.Option(help="One page of it all for a browser, .html.")]


def replay_command(
    trace: TraceArgument,
    fabric: FabricOption,
    fidelity: FidelityOption = "flow",
    routing: RoutingOption = "default",
    fall_back: FallBackOption = "none",
    queue_pairs: QueuePairsOption = 2,
    most_paths: MostPathsOption = 256,
    path_split: PathSplitOption = "pooled",
    nic_gbps: NicRateOption = None,
    seed: SeedOption = 0,
    congestion_control: ControlOption = None,
    cell_bytes: CellOption = None,
    packet_skip: SkipOption = None,
    packet_set: PacketOption = None,
    collective: CollectiveOption = None,
    first_server: FirstServerOption = 0,
    server_stride: StrideOption = 1,
    against: AgainstOption = None,
    out: OutOption = None,
    operations_out: OperationsOption = None,
    links_out: LinksOption = None,
    paths_out: PathsOption = None,
    bin_s: BinOption = 0.0,
    bins_out: BinsOption = None,
    ports_out: PortsOption = None,
    pauses_out: PausesOption = None,
    picture: PictureOption = None,
    tree: TreeOption = None,
    page: PageOption = None,
    chrome: ChromeOption = None,
    calibration: CalibrationOption = None,
    calibration_draws: DrawsOption = None,
    jobs: Annotated[int | None, JOBS_OF_DRAWS] = None,
    quantum_s: QuantumOption = 0.0,
    isolation: IsolationOption = 0.0,
    memory_gb: MemoryOption = None,
    json: JsonOption = False,
) -> None:
    """Carry listed transfers or run a trace over a fabric: when each ends, what bounds it, how full every link gets."""
    given = dict(locals())
    from zcube.calibrate.links import carrier_on
    from zcube.cli.fabric import load
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import check_targets, page_target, write_targets
    from zcube.outputs import to_json
    from zcube.replays.banded import replay_with_band
    from zcube.replays.little import little_groups, may_be_little
    from zcube.report.replay_page import replay_page
    from zcube.side_by_side import SideBySide
    from zcube.trace.files import is_trace
    from zcube.warm import KernelsAhead, needed_groups
    from zcube.workload.flow_lists import FlowList

    targets, traced = _targets(given), is_trace(trace)
    pages = [page_target(page, lambda done: replay_page(done, sys.argv[1:]))]
    read = [trace, *([] if against is None else [against])]
    asked = [*(target for kind in targets.values() for target in kind), *pages]
    check_targets(asked, read, _faults(given, targets, traced))
    with told_by_options():
        network = network_from(given)
    with (
        told_by_options(),
        KernelsAhead(needed_groups(fidelity, packets=[network.packet]), traced or not may_be_little(trace)) as ahead,
        RunProgress() as progress,
    ):
        chosen = carrier_on(load(fabric, None), network, seed)
        progress("reading", 0, 0, "")
        task = (_trace_task if traced else _flows_task)(given, chosen)
        little = little_groups(chosen, task.carried) if isinstance(task.carried, FlowList) else ()
        at_once = jobs or 1 if chosen.measured is not None else 1
        with ahead.ready(progress, little), SideBySide(at_once, "zcube.replays.banded", memory_gb) as beside:
            done: Any = replay_with_band(task, progress=progress, beside=beside)
    write_targets([*targets[TRANSFERS], *targets[PACKETS]], done.transfers if traced else done)
    write_targets([*targets[TRACE], *pages], done)
    document = done.document()
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.replay_table import replay_text

    sys.stdout.write(replay_text(document))


def _targets(given: dict[str, Any]) -> dict[str, list[Target]]:
    """Return the files that may be asked for, by what they tell of."""
    from zcube.cli.targets import Target
    from zcube.report import replay_figures as pictures
    from zcube.report import replay_files as files
    from zcube.report.picture import FORMATS, drawn
    from zcube.report.tree_files import TREE_FORMATS, write_trees

    rows = (
        (TRANSFERS, "out", TABLES, files.write_flows),
        (TRANSFERS, "links_out", TABLES, files.write_links),
        (TRANSFERS, "paths_out", TABLES, files.write_paths),
        (TRANSFERS, "bins_out", TABLES, files.write_bins),
        (TRACE, "operations_out", TABLES, files.write_operations),
        (TRACE, "chrome", (".json",), files.write_timeline),
        (PACKETS, "ports_out", TABLES, files.write_ports),
        (PACKETS, "pauses_out", TABLES, files.write_pauses),
        (PACKETS, "picture", FORMATS, drawn(pictures.plot_ports)),
        (PACKETS, "tree", TREE_FORMATS, write_trees),
    )
    targets: dict[str, list[Target]] = {kind: [] for kind in (TRANSFERS, TRACE, PACKETS)}
    for kind, name, endings, write in rows:
        targets[kind].append(Target(_option(name), given[name], endings, write))
    return targets


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _faults(given: dict[str, Any], targets: dict[str, list[Target]], traced: bool) -> list[Fault]:
    """Return a fault for every option that means nothing here, or lacks one beside it."""
    from zcube.errors import Fault

    faults = []
    for kind, here, names, found, expected in (
        (TRACE, traced, ("collective", "against"), "a list of transfers", "a trace"),
        (PACKETS, given["fidelity"] == "packet", (*OF_PACKETS, "packet_set"),
         f"--fidelity {given['fidelity']}", "--fidelity packet"),
    ):  # fmt: skip
        options = {target.option: target.path for target in targets[kind]} | {_option(name): given[name] for name in names}
        faults += [Fault(option, found, expected) for option, value in options.items() if value is not None and not here]
    if given["isolation"] and given["fidelity"] != "lossless":
        faults.append(Fault("--isolation", f"--fidelity {given['fidelity']}", "--fidelity lossless"))
    faults += [
        Fault(_option(name), "no --calibration", "a calibration beside it")
        for name in ("calibration_draws", "jobs")
        if given[name] is not None and given["calibration"] is None
    ]
    binned = given["bins_out"] is not None or given["picture"] is not None
    if given["bin_s"] > 0 and not binned:
        faults.append(Fault("--bin-s", "alone", "--bins-out or --picture beside it"))
    if binned and not given["bin_s"] > 0:
        faults.append(Fault("--bins-out and --picture", "no --bin-s", "the width of a bin, --bin-s"))
    return faults


def _flows_task(given: dict[str, Any], chosen: Carrier) -> ReplayTask:
    from zcube.replays.banded import ReplayTask
    from zcube.replays.gpus import gpu_numbers, known_gpus
    from zcube.workload.flow_lists import read_flows

    fabric = chosen.fabric
    flows = read_flows(given["trace"], lambda names: gpu_numbers(fabric, names), known_gpus=known_gpus(fabric))
    return ReplayTask(chosen, flows)


def _trace_task(given: dict[str, Any], chosen: Carrier) -> ReplayTask:
    from zcube.replays.banded import ReplayTask
    from zcube.trace.files import read_trace

    algorithms, against = _algorithms(given["collective"] or []), given["against"]
    options = {
        "collectives": algorithms,
        "first_server": given["first_server"],
        "server_stride": given["server_stride"],
        "against": None if against is None else read_trace(against),
    }
    return ReplayTask(chosen, read_trace(given["trace"]), options)


def _algorithms(given: list[str]) -> dict[str, str]:
    from zcube.errors import Fault, InputError

    pairs = [text.partition("=") for text in given]
    faults = [
        Fault(f"--collective {name}{sign}{algorithm}", "no NAME=ALGORITHM", "e.g. all-reduce=ring")
        for name, sign, algorithm in pairs
        if not (name and sign and algorithm)
    ]
    if faults:
        raise InputError(faults)
    return {name: algorithm for name, _, algorithm in pairs}
