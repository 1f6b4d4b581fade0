"""``zcube replay``: listed transfers, or a communication trace, over one fabric."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from zcube.cli.targets import Target
    from zcube.errors import Fault
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
    fidelity: Annotated[str, typer.Option(help="ideal (only NIC links limit) or flow (max-min fluid).")] = "flow",
    routing: Annotated[
        str, typer.Option(help="Routing policy; default: the one of the family; hash: one path a flow.")
    ] = "default",
    queue_pairs: Annotated[int, typer.Option(min=1, max=1024, help="Queue pairs a flow, where paths are hashed.")] = 2,
    path_split: Annotated[str, typer.Option(help="pooled (paths share one pool of bytes) or fixed (equal parts).")] = "pooled",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hash.")] = 0,
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
    chrome: Annotated[Path | None, typer.Option(help="Of a trace: timeline for Perfetto, .json.")] = None,
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
    from zcube.report.replay_files import write_bins, write_flows, write_links, write_operations, write_paths
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
    traced = is_trace(trace)
    check_targets([*of_transfers, *of_trace], [trace], _misused(traced, of_trace, collective, bin_s, bins_out))
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
    )
    with RunProgress("steps", SILENT_S) as progress:
        if traced:
            done = _run_trace(trace, chosen, collective, first_server, server_stride, memory_gb, progress.update)
        else:
            done = _run_flows(trace, chosen, memory_gb, progress.update)
    write_targets(of_transfers, done.transfers if traced else done)
    write_targets(of_trace, done)
    document = done.document()
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.replay_table import replay_text

    sys.stdout.write(replay_text(document))


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
    from zcube.replay.operations import replay_trace
    from zcube.trace.files import read_trace

    return replay_trace(
        chosen,
        read_trace(path),
        collectives=_algorithms(collective or []),
        first_server=first_server,
        server_stride=server_stride,
        memory_gb=memory_gb,
        progress=progress,
    )


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


def _misused(
    traced: bool, of_trace: list[Target], collective: list[str] | None, bin_s: float, bins_out: Path | None
) -> list[Fault]:
    """Return which options do not go together."""
    from zcube.errors import Fault

    faults = []
    if (bin_s > 0) != (bins_out is not None):
        faults.append(Fault("--bin-s and --bins-out", "one of them", "both or neither"))
    if not traced:
        given = [target.option for target in of_trace if target.path is not None] + ["--collective"] * bool(collective)
        faults += [Fault(option, "a list of transfers", "a trace; see zcube trace generate") for option in given]
    return faults
