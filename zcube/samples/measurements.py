"""Sample output of nccl-tests: the program's form, times of a formula with scatter. It was not measured, and says so."""

from __future__ import annotations

import numpy as np

from zcube.seeds import stream

RANKS = 8
#: Start and rate that the times are made of, and the standard deviation of their logarithms.
START_S, BYTES_PER_S, SCATTER = 18e-6, 160e9, 0.02
DEVICE = "made, not measured"
SIZES = [1 << power for power in range(13, 31)]
NVLINK, LATER = "sample", "sample-later"
#: Program, bytes on the wire a size, steps, and what the table calls reduction and root.
PROGRAMS = (
    ("alltoall_perf", (RANKS - 1) / RANKS, 1, "none", -1),
    ("all_gather_perf", (RANKS - 1) / RANKS, RANKS - 1, "none", -1),
    ("reduce_scatter_perf", (RANKS - 1) / RANKS, RANKS - 1, "sum", -1),
    ("all_reduce_perf", 2 * (RANKS - 1) / RANKS, 2 * (RANKS - 1), "sum", -1),
)


def nccl_tests_text(seed: int, run: str = NVLINK) -> bytes:
    """Return what four programs of nccl-tests would print on a host of eight GPUs.

    Parameters
    ----------
    seed : int
        Of the scatter.
    run : str
        Name of the run: runs of different names have scatter of their own about the same times.
    """
    draws = stream(seed, f"nccl-tests-{run}")
    return "".join(_program(draws, *program) for program in PROGRAMS).encode()


def _program(draws: np.random.Generator, name: str, wire: float, steps: int, reduction: str, root: int) -> str:
    devices = "".join(
        f"#  Rank {rank:2} Group  0 Pid {7000 + rank:6} on sample-host device {rank:2} [0000:{4 + rank:02x}:00] {DEVICE}\n"
        for rank in range(RANKS)
    )
    # A start for the call and a tenth of it for every further step.
    times_s = (START_S * (1 + 0.1 * (steps - 1)) + wire * np.array(SIZES) / BYTES_PER_S) * draws.lognormal(
        0.0, SCATTER, len(SIZES)
    )
    lines = [
        f"{size:12} {size // 4:13} {'float':>9} {reduction:>7} {root:>7}"
        + 2 * f" {1e6 * time_s:9.2f} {size / time_s / 1e9:7.2f} {wire * size / time_s / 1e9:7.2f} {0:>6}"
        for size, time_s in zip(SIZES, times_s, strict=True)
    ]
    head = (
        f"# Collective test starting: {name}\n"
        f"# nThread 1 nGpus 1 minBytes {SIZES[0]} maxBytes {SIZES[-1]} step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 "
        f"validation: 1 graph: 0\n#\n# Using devices\n{devices}#\n"
        f"#{'':61}out-of-place{'':23}in-place\n"
        f"#{'size':>11} {'count':>13} {'type':>9} {'redop':>7} {'root':>7}"
        + 2
        * f" {'time':>9} {'algbw':>7} {'busbw':>7} #wrong"
    )
    return "\n".join([head, *lines, "# Out of bounds values : 0 OK", f"# Collective test concluded: {name}\n"])
