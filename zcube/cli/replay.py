"""``zcube replay``: listed transfers over one fabric."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

#: A run shorter than this stays silent.
SILENT_S = 2.0


def replay_command(
    trace: Annotated[
        Path, typer.Argument(help="Transfers, CSV or Parquet: src,dst,bytes,start_s[,id,cap_gbps,weight,coflow].")
    ],
    fabric: Annotated[str, typer.Option(help="Bundled topology or file; @switch:A3,link:A0-B5 behind it fails these.")],
    fidelity: Annotated[str, typer.Option(help="ideal (only NIC links limit) or flow (max-min fluid).")] = "flow",
    routing: Annotated[
        str, typer.Option(help="Routing policy; default: the one of the family; hash: one path a flow.")
    ] = "default",
    queue_pairs: Annotated[int, typer.Option(min=1, max=1024, help="Queue pairs a flow, where paths are hashed.")] = 2,
    path_split: Annotated[str, typer.Option(help="pooled (paths share one pool of bytes) or fixed (equal parts).")] = "pooled",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hash.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Per-flow table to write, .csv or .parquet.")] = None,
    links_out: Annotated[Path | None, typer.Option(help="Per-link table to write, .csv or .parquet.")] = None,
    paths_out: Annotated[Path | None, typer.Option(help="Links each flow took, .csv or .parquet.")] = None,
    bin_s: Annotated[float, typer.Option(min=0.0, help="Width of the bins of --bins-out, seconds.")] = 0.0,
    bins_out: Annotated[
        Path | None, typer.Option(help="Bytes per link and bin of time, .csv or .parquet; needs --bin-s.")
    ] = None,
    quantum_s: Annotated[
        float, typer.Option(min=0.0, help="Solve events within this time as one; 0 is exact, see docs/replay.md.")
    ] = 0.0,
    memory_gb: Annotated[
        float | None, typer.Option(min=0.0, help="Most memory to use, in 1e9 bytes; default: what is available.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Carry listed transfers over a fabric: when each ends, what bounds it, how full every link gets."""
    from zcube.cli.fabric import load
    from zcube.cli.progress import RunProgress
    from zcube.errors import Fault, InputError
    from zcube.outputs import to_json
    from zcube.replay import gpu_numbers, known_gpus, replay
    from zcube.report.replay_files import target_faults, write_bins, write_flows, write_links, write_paths
    from zcube.workload.flow_lists import read_flows

    wanted = [("--out", out, write_flows), ("--links-out", links_out, write_links), ("--paths-out", paths_out, write_paths)]
    wanted.append(("--bins-out", bins_out, write_bins))
    files = [(option, path, write) for option, path, write in wanted if path is not None]
    faults = [fault for option, path, _ in files for fault in target_faults(option, path)]
    taken = [trace.resolve(), *(path.resolve() for _, path, _ in files)]
    for number, (option, path, _) in enumerate(files, start=1):
        if taken[number] in taken[:number]:
            faults.append(Fault(f"{option} {path}", "a file named before", "a file of its own"))
    if (bin_s > 0) != (bins_out is not None):
        faults.append(Fault("--bin-s and --bins-out", "one of them", "both or neither"))
    if faults:
        raise InputError(faults)
    loaded = load(fabric, None)
    flows = read_flows(trace, lambda names: gpu_numbers(loaded, names), known_gpus=known_gpus(loaded))
    with RunProgress("flows", SILENT_S) as progress:
        done = replay(
            loaded,
            flows,
            fidelity=fidelity,  # type: ignore[arg-type]
            routing=routing,
            queue_pairs=queue_pairs,
            path_split=path_split,  # type: ignore[arg-type]
            seed=seed,
            memory_gb=memory_gb,
            quantum_s=quantum_s,
            bin_s=bin_s,
            progress=progress.update,
        )
    for _, path, write in files:
        write(done, path)
        print(f"written: {path}", file=sys.stderr)
    document = done.document()
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.replay_table import replay_text

    sys.stdout.write(replay_text(document))
