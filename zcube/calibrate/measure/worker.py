"""What each rank runs: ``torchrun --nproc-per-node N -m zcube.calibrate.measure.worker PLAN``.

The plan is a JSON file (see :meth:`zcube.calibrate.measure.settings.MeasureSettings.plan`); rank 0 writes the rows,
matrices and facts as JSON to the file that the plan names. Progress goes to stderr, each line marked.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zcube.calibrate.measure.benchmarks import BENCHMARKS, Benchmark, Layer, Prepared
from zcube.calibrate.measure.patterns import memory_per_size, run_pattern
from zcube.calibrate.measure.timing import Effort, quantile, take
from zcube.calibrate.measure.torch_layer import BUFFER_SHARE, TorchLayer, place

#: Marks the lines of a worker that are progress.
MARK = "zcube: "


def main(argv: list[str]) -> int:
    """Run the plan named on the command line; return the exit status."""
    plan = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    if plan["ranks_per_host_id"]:
        # Ranks with different host identifiers are on different hosts to NCCL, so that it takes the network between them.
        os.environ["NCCL_HOSTID"] = f"zcube-{place()[0] // plan['ranks_per_host_id']}"
    layer = TorchLayer(plan["backend"], plan["timeout_s"])
    try:
        ranks_on_host = plan["ranks_per_host_id"] or layer.local_world
        result = run(layer, plan, ranks_on_host, _say if layer.rank == 0 else _be_silent)
        if layer.rank == 0:
            Path(plan["result"]).write_text(json.dumps(result | {"facts": layer.facts()}), encoding="utf-8")
    finally:
        layer.close()
    return 0


def run(layer: Layer, plan: Mapping[str, Any], ranks_on_host: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything of a plan. Every rank must call it.

    Parameters
    ----------
    layer : Layer
    plan : mapping
        Keys ``operations``, ``sizes_bytes``, ``dtypes``, ``patterns``, ``pattern_sizes_bytes``, ``warmup``, ``budget_s``,
        ``least_repetitions``, ``most_repetitions``.
    ranks_on_host : int
        For same-rail and cross-rail traffic.
    say : callable
        Takes progress lines.

    Returns
    -------
    dict
        ``rows``, ``matrices`` and ``notes``; the same on every rank.
    """
    effort = Effort(plan["warmup"], plan["budget_s"], plan["least_repetitions"], plan["most_repetitions"])
    free_bytes = int(min(line[0] for line in layer.share([float(layer.free_bytes())])))
    largest_bytes = int(free_bytes * BUFFER_SHARE)
    notes = [
        f"{size} bytes left out: a buffer may take {largest_bytes} of {free_bytes} free bytes"
        for size in plan["sizes_bytes"]
        if size > largest_bytes
    ]
    sizes = [size for size in plan["sizes_bytes"] if size <= largest_bytes]
    rows = []
    for dtype in plan["dtypes"]:
        for benchmark in BENCHMARKS:
            if benchmark.operation in plan["operations"]:
                rows += _sweep(layer, benchmark, sizes, dtype, effort, say)
    matrices, more = _matrices(layer, plan, ranks_on_host, effort, 2 * largest_bytes, say)
    return {"rows": rows, "matrices": matrices, "notes": notes + more}


def _sweep(
    layer: Layer, benchmark: Benchmark, sizes: list[int], dtype: str, effort: Effort, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    rows, done = [], set()
    for size in sizes:
        count = benchmark.part_count(size, layer.world, dtype)
        if not count or count in done:
            continue
        done.add(count)
        rows.append(_row(layer, benchmark, count, dtype, effort))
        say(_line(rows[-1]))
    return rows


def _row(layer: Layer, benchmark: Benchmark, part_count: int, dtype: str, effort: Effort) -> dict[str, Any]:
    prepared = Prepared(layer, benchmark, part_count, dtype)
    wrong = prepared.wrong()
    timing = take(layer, prepared.call, effort, prepared.reset if benchmark.in_place else None)
    # Once more after the timing: a fault that shows only under load leaves what it damaged.
    wrong += prepared.wrong()
    times = timing.slowest_s
    return {
        "operation": benchmark.operation,
        "pattern": benchmark.pattern,
        "ranks": layer.world,
        "size_bytes": benchmark.size_bytes(part_count, layer.world, dtype),
        "dtype": dtype,
        "time_s": quantile(times, 0.5),
        "p10_s": quantile(times, 0.1),
        "p90_s": quantile(times, 0.9),
        "min_s": min(times),
        "repetitions": len(times),
        "batch": timing.batch,
        "launch_hidden": timing.hidden,
        "in_place": benchmark.in_place,
        "correct": wrong == 0,
    }


def _matrices(
    layer: Layer, plan: Mapping[str, Any], ranks_on_host: int, effort: Effort, room_bytes: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    dtype = plan["dtypes"][0]
    for pattern, buffers in zip(plan["patterns"], memory_per_size(plan["patterns"], layer.world), strict=True):
        for size in plan["pattern_sizes_bytes"]:
            if buffers * size > room_bytes:
                notes.append(f"{pattern} of {size} bytes left out: too little memory")
                continue
            moved = run_pattern(layer, pattern, size, dtype, ranks_on_host, effort)
            if moved is None:
                notes.append(f"{pattern} does not apply to {layer.world} ranks, {ranks_on_host} a host")
                break
            found.append({"pattern": pattern, "size_bytes": size, "gbps": moved.gbps, "correct": moved.wrong == 0})
            say(f"{pattern} {size} B: {'correct' if moved.wrong == 0 else f'{moved.wrong} elements WRONG'}")
    return found, notes


def _line(row: Mapping[str, Any]) -> str:
    name = f"{row['operation']} {row['pattern']}".strip()
    spread = f"P10 {row['p10_s'] * 1e6:.4g}, P90 {row['p90_s'] * 1e6:.4g}"
    count = f"{row['repetitions']} x {row['batch']}"
    verdict = "correct" if row["correct"] else "WRONG DATA"
    return f"{name} {row['size_bytes']} B {row['dtype']}: {row['time_s'] * 1e6:.4g} us ({spread}; {count}) {verdict}"


def _say(text: str) -> None:
    print(MARK + text, file=sys.stderr, flush=True)


def _be_silent(text: str) -> None:
    """Ranks other than 0 measure the same and need not say so."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
