"""``zcube replay``: listed transfers, or a communication trace, over one fabric."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from zcube.calibrate.apply import AppliedCalibration
    from zcube.cli.targets import Target
    from zcube.errors import Fault
    from zcube.network.packet.settings import PacketSettings
    from zcube.replay.carrier import Carrier, ReplayProgress

#: A run shorter than this stays silent.
SILENT_S = 2.0


def replay_command(
    trace: Annotated[
        Path,
        typer.Argument(
            help="Transfers, CSV or Parquet: src,dst,bytes,start_s[,id,cap_gbps,weight,coflow]; or a trace of zcube trace."
        ),
    ],
    fabric: Annotated[str, typer.Option(help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.")],
    fidelity: Annotated[str, typer.Option(help="ideal (only NIC links limit), flow (max-min) or packet (RoCE).")] = "flow",
    routing: Annotated[
        str, typer.Option(help="Routing policy; default: the one of the family; hash: one path a flow.")
    ] = "default",
    queue_pairs: Annotated[int, typer.Option(min=1, max=1024, help="Queue pairs a flow, where paths are hashed.")] = 2,
    path_split: Annotated[str, typer.Option(help="pooled (paths share one pool of bytes) or fixed (equal parts).")] = "pooled",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hash.")] = 0,
    congestion_control: Annotated[
        str | None, typer.Option(help="Packets: dcqcn (default), dcqcn_nvidia, none, or one that a package brings.")
    ] = None,
    cell_bytes: Annotated[
        int | None, typer.Option(help="Packets: payload of packets simulated as one; for transfers of many megabytes.")
    ] = None,
    packet_set: Annotated[
        list[str] | None, typer.Option("--packet-set", metavar="KEY=VALUE", help="Packets: any parameter; see docs/packets.md.")
    ] = None,
    collective: Annotated[
        list[str] | None,
        typer.Option(help="Of a trace: NAME=ALGORITHM, e.g. all-reduce=ring; see docs/traces.md. May be repeated."),
    ] = None,
    first_server: Annotated[int, typer.Option(min=0, help="Of a trace: server of its first node.")] = 0,
    server_stride: Annotated[int, typer.Option(min=1, help="Of a trace: servers from one of its nodes to the next.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Per-flow table to write, .csv or .parquet.")] = None,
    operations_out: Annotated[Path | None, typer.Option(help="Of a trace: per-operation table, .csv or .parquet.")] = None,
    links_out: Annotated[Path | None, typer.Option(help="Per-link table to write, .csv or .parquet.")] = None,
    paths_out: Annotated[Path | None, typer.Option(help="Links each flow took, .csv or .parquet.")] = None,
    bin_s: Annotated[float, typer.Option(min=0.0, help="Width of the bins of --bins-out, seconds.")] = 0.0,
    bins_out: Annotated[
        Path | None, typer.Option(help="Bytes per link and bin of time, .csv or .parquet; needs --bin-s.")
    ] = None,
    ports_out: Annotated[Path | None, typer.Option(help="Packets: pauses and queues per port, .csv or .parquet.")] = None,
    pauses_out: Annotated[Path | None, typer.Option(help="Packets: pause by pause, .csv or .parquet.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Packets: ports over time, .png or .svg; needs --bin-s.")] = None,
    tree: Annotated[Path | None, typer.Option(help="Packets: congestion tree, .png or .svg.")] = None,
    chrome: Annotated[Path | None, typer.Option(help="Of a trace: timeline for Perfetto, .json.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Measured rates and latencies of links, of zcube calibrate fit.")
    ] = None,
    quantum_s: Annotated[
        float, typer.Option(min=0.0, help="Solve events within this time as one; 0 is exact, see docs/replay.md.")
    ] = 0.0,
    memory_gb: Annotated[
        float | None, typer.Option(min=0.0, help="Most memory to use, in 1e9 bytes; default: what is available.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Carry listed transfers or run a trace over a fabric: when each ends, what bounds it, how full every link gets."""
    from zcube.cli.fabric import load
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.outputs import to_json
    from zcube.replay.carrier import carrier
    from zcube.report.replay_files import (
        write_bins,
        write_flows,
        write_links,
        write_operations,
        write_paths,
        write_pauses,
        write_ports,
    )
    from zcube.trace.files import is_trace

    tables = (".csv", ".parquet")
    of_transfers = [
        Target("--out", out, tables, write_flows),
        Target("--links-out", links_out, tables, write_links),
        Target("--paths-out", paths_out, tables, write_paths),
        Target("--bins-out", bins_out, tables, write_bins),
    ]
    of_trace = [
        Target("--operations-out", operations_out, tables, write_operations),
        Target("--chrome", chrome, (".json",), _write_chrome),
    ]
    of_packets = [
        Target("--ports-out", ports_out, tables, write_ports),
        Target("--pauses-out", pauses_out, tables, write_pauses),
        Target("--picture", picture, (".png", ".svg"), _draw_ports),
        Target("--tree", tree, (".png", ".svg"), _draw_tree),
    ]
    traced, changes = is_trace(trace), _packet_changes(congestion_control, cell_bytes, packet_set)
    faults = [] if traced else _only_for("a list of transfers", "a trace", of_trace, {"--collective": collective})
    if fidelity != "packet":
        faults += _only_for(f"--fidelity {fidelity}", "--fidelity packet", of_packets, changes)
    faults += _needed_bins(bin_s, bins_out, picture)
    check_targets([*of_transfers, *of_trace, *of_packets], [trace], faults)
    loaded = load(fabric, None)
    chosen = carrier(
        loaded,
        fidelity=fidelity,  # type: ignore[arg-type]
        routing=routing,
        queue_pairs=queue_pairs,
        path_split=path_split,  # type: ignore[arg-type]
        seed=seed,
        quantum_s=quantum_s,
        bin_s=bin_s,
        packet=_packet_settings(changes) if fidelity == "packet" else None,
        calibration=None if calibration is None else _calibration(calibration),
    )
    with RunProgress("steps", SILENT_S) as progress:
        if traced:
            done = _run_trace(trace, chosen, collective, first_server, server_stride, memory_gb, progress.update)
        else:
            done = _run_flows(trace, chosen, memory_gb, progress.update)
    transfers = done.transfers if traced else done
    write_targets([*of_transfers, *of_packets], transfers)
    write_targets(of_trace, done)
    document = done.document()
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.replay_table import replay_text

    sys.stdout.write(replay_text(document))


def _calibration(path: Path) -> AppliedCalibration:
    from zcube.calibrate.links import load_calibration

    return load_calibration(path)


def _run_flows(path: Path, chosen: Carrier, memory_gb: float | None, progress: ReplayProgress) -> Any:
    from zcube.replay.flows import replay
    from zcube.replay.gpus import gpu_numbers, known_gpus
    from zcube.workload.flow_lists import read_flows

    fabric = chosen.fabric
    flows = read_flows(path, lambda names: gpu_numbers(fabric, names), known_gpus=known_gpus(fabric))
    return replay(chosen, flows, memory_gb=memory_gb, progress=progress)


def _run_trace(
    path: Path,
    chosen: Carrier,
    collective: list[str] | None,
    first_server: int,
    server_stride: int,
    memory_gb: float | None,
    progress: ReplayProgress,
) -> Any:
    from zcube.errors import Fault, InputError
    from zcube.replay.operations import replay_trace
    from zcube.trace.files import read_trace

    algorithms, loaded = _algorithms(collective or []), read_trace(path)
    try:
        return replay_trace(
            chosen,
            loaded,
            collectives=algorithms,
            first_server=first_server,
            server_stride=server_stride,
            memory_gb=memory_gb,
            progress=progress,
        )
    except InputError as error:
        # Only here is it known which file the operations came from.
        inside = ("trace", "operation ", "expanded operation ")
        faults = [
            Fault(f"{path}: {fault.where}", fault.found, fault.expected) if fault.where.startswith(inside) else fault
            for fault in error.faults
        ]
        raise InputError(faults) from error


def _write_chrome(done: Any, path: Path) -> None:
    from zcube.trace.chrome import write_chrome

    write_chrome(done.trace, done.times.start_s, done.times.finish_s, path)


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


def _draw_ports(done: Any, path: Path) -> None:
    from zcube.report.packet_ports import plot_port_history, port_history

    packets, links = done.packets, done.link_table
    history = port_history(packets.queues, packets.depth_bytes, packets.paused_s, packets.bin_s, links, packets.settings)
    plot_port_history(history, path)


def _draw_tree(done: Any, path: Path) -> None:
    from zcube.report.congestion_tree import congestion_trees
    from zcube.report.packet_tree_picture import plot_congestion_trees

    medium = done.carrier.medium
    plot_congestion_trees(congestion_trees(done.packets.pauses, medium.source, medium.target), path)


def _packet_changes(congestion_control: str | None, cell_bytes: int | None, packet_set: list[str] | None) -> dict[str, Any]:
    """Return the options that change packet settings, by name; empty if none was given."""
    given = {"--congestion-control": congestion_control, "--cell-bytes": cell_bytes, "--packet-set": packet_set}
    return {option: value for option, value in given.items() if value is not None}


def _packet_settings(changes: dict[str, Any]) -> PacketSettings:
    from zcube.errors import Fault, InputError
    from zcube.inputs import assign, validate
    from zcube.network.packet.settings import PacketSettings

    data: dict[str, Any] = {}
    assign(data, changes.get("--packet-set", ()), "--packet-set")
    if "seed" in data:
        raise InputError(Fault("--packet-set seed", repr(data["seed"]), "--seed, which holds for the whole run"))
    keys = {"--congestion-control": "congestion_control", "--cell-bytes": "cell_bytes"}
    data |= {keys[option]: value for option, value in changes.items() if option in keys}
    return validate(PacketSettings, data, "packet settings")


def _only_for(found: str, expected: str, targets: list[Target], options: dict[str, Any]) -> list[Fault]:
    """Return a fault for every option given that means nothing here."""
    from zcube.errors import Fault

    given = [target.option for target in targets if target.path is not None]
    given += [name for name, value in options.items() if value is not None]
    return [Fault(option, found, expected) for option in given]


def _needed_bins(bin_s: float, bins_out: Path | None, picture: Path | None) -> list[Fault]:
    from zcube.errors import Fault

    if bin_s > 0 or (bins_out is None and picture is None):
        wanted = bin_s == 0 or bins_out is not None or picture is not None
        return [] if wanted else [Fault("--bin-s", "alone", "--bins-out or --picture beside it")]
    return [Fault("--bins-out and --picture", "no --bin-s", "the width of a bin, --bin-s")]
