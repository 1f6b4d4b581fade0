"""Calibrate DeepEP's exchanges over nodes (``[exchanges]`` of zcube/llm/devices/h200.toml) and print them with their errors.

    python benchmarks/fit_deepep.py

Measured: NVIDIA aiconfigurator's tables of SGLang 0.5.6.post2 on H200 with 400 Gb/s NICs, in the package
``aiconfigurator-core`` 0.12 (extra ``measured``), the only public ones over 2, 4 and 8 nodes: newer ones have one node, those
of H100 repeat H200's. Published: DeepEP's README on H800, over nodes (one node has another NVLink). There dispatch over two
nodes takes 16 % longer than on H200, so that the largest error counts most in the fit of low-latency mode.

Normal mode is fitted to 2 and 4 nodes with 20 SMs and at least 128 tokens. Over 8 nodes the table's dispatch runs at less than
half its combine's rate and notifications take milliseconds. The benchmarks draw experts evenly over 2 and 4 nodes whatever the
model limits (DeepEP's tests/test_internode.py: one group of experts a node, at most four of them). Needs scipy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import least_squares

from zcube.llm.cards import load_card
from zcube.llm.devices import Exchange, Exchanges
from zcube.llm.exchanges import low_latency_s, normal_s
from zcube.llm.tables.source import open_source

#: DeepSeek-V3's sizes, experts drawn as in the benchmarks.
CARD = load_card("deepseek-v3.2").model_copy(update={"expert_groups": 1, "expert_groups_per_token": 1})
NIC_GBPS = 400
VERSION = "0.5.6.post2"
MOST_TOKENS = 256
#: Published on H800, low latency, 128 tokens a GPU: nodes, dispatch and combine in microseconds.
PUBLISHED = ((2, 118, 195), (4, 155, 273), (8, 173, 314), (16, 192, 369), (32, 194, 360))


@dataclass(frozen=True, eq=False)
class Mode:
    """How a mode is fitted: its times, the names of its exchanges with the latency terms they have, and the loss."""

    times: object
    exchanges: dict[str, tuple[str, ...]]
    power: int


LOW_LATENCY = Mode(
    low_latency_s, {"low_latency_dispatch": ("base_us", "doubling_us"), "low_latency_combine": ("base_us", "cross_us")}, 8
)
NORMAL = Mode(normal_s, {"dispatch": ("base_us", "doubling_us"), "combine": ("base_us", "doubling_us")}, 2)


def read(mode, device="h200"):
    """Return the measured rows: nodes, tokens of a GPU, dispatch and combine in microseconds."""
    low = mode is LOW_LATENCY
    folder = open_source(None).folder / f"{device}_sxm" / "comm" / "sglang" / VERSION
    frame = pq.read_table(folder / f"wideep_deepep_{'ll' if low else 'normal'}_perf.parquet").to_pandas()
    if low:
        frame, suffix = frame[frame["num_token"] <= MOST_TOKENS], "avg_t_us"
    else:
        rows = (frame["dispatch_sms"] == 20) & frame["node_num"].isin([2, 4]) & (frame["num_token"] >= 128)
        frame, suffix = frame[rows], "transmit_us"
    return frame[["node_num", "num_token", f"dispatch_{suffix}", f"combine_{suffix}"]].to_numpy(dtype=float)


def published():
    """Return the published rows of low-latency mode in the form of :func:`read`."""
    return np.array([(nodes, 128, dispatch, combine) for nodes, dispatch, combine in PUBLISHED], dtype=float)


def model_us(mode, figures, rows, which):
    """Return the model's times of one exchange, 0 dispatch or 1 combine."""
    every = Exchanges.model_construct(**dict.fromkeys(Exchanges.model_fields, figures))
    return np.array([1e6 * mode.times(CARD, every, int(row[0]), row[1], NIC_GBPS)[which] for row in rows])


def fit(mode, rows):
    """Return the figures of both exchanges."""
    return [fit_exchange(mode, rows, which, terms) for which, terms in enumerate(mode.exchanges.values())]


def fit_exchange(mode, rows, which, terms):
    """Return the figures of one exchange that has these latency terms; the others are zero."""
    bounds = dict.fromkeys(terms, (0.1, 100)) | {"rail_efficiency": (0.5, 1), "nvlink_gbytes_per_s": (100, 450)}
    low, high = np.log(list(bounds.values())).T

    def figures(x):
        values = dict.fromkeys(("base_us", "cross_us", "doubling_us"), 0.0) | dict(zip(bounds, np.exp(x)))
        return Exchange.model_construct(**values)

    def residual(x, power):
        return np.abs(np.log(model_us(mode, figures(x), rows, which) / rows[:, 2 + which]) / 0.05) ** (power / 2)

    x = np.log([15.0] * len(terms) + [0.9, 230.0])
    for power in sorted({2, mode.power}):
        x = least_squares(residual, x, bounds=(low, high), kwargs={"power": power}).x
    rounded = {name: float(f"{value:.4g}") for name, value in figures(x)}
    return Exchange(**rounded, source="fitted")


def errors(mode, fitted, rows):
    """Return model / measured - 1, shape (rows, 2)."""
    return np.column_stack(
        [model_us(mode, figures, rows, which) / rows[:, 2 + which] - 1 for which, figures in enumerate(fitted)]
    )


def left_out(mode, rows, nodes):
    """Return the errors of a node count's rows that the fit did not see."""
    own = rows[:, 0] == nodes
    return errors(mode, fit(mode, rows[~own]), rows[own])


def main():
    for mode, rows in ((LOW_LATENCY, np.vstack([read(LOW_LATENCY), published()])), (NORMAL, read(NORMAL))):
        fitted = fit(mode, rows)
        found = np.abs(errors(mode, fitted, rows))
        for which, (name, figures) in enumerate(zip(mode.exchanges, fitted)):
            print(f"[exchanges.{name}]")
            print("\n".join(f"{key} = {value}" for key, value in figures.model_dump(exclude={"source"}).items()))
            own = found[:, which]
            print(f"# median {np.median(own):.3f} p90 {np.quantile(own, 0.9):.3f} largest {own.max():.3f} of {len(own)} rows")
        if mode is LOW_LATENCY:
            for nodes in (2, 4, 8):
                print(f"# {nodes} nodes left out: largest", np.abs(left_out(mode, rows, nodes)).max(axis=0).round(3))


if __name__ == "__main__":
    main()
