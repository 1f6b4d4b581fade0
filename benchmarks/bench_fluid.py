"""Time the fluid on batches of flows and print flows per second; every flow must end.

Run ``python benchmarks/bench_fluid.py``.
"""

from __future__ import annotations

import time

import numpy as np

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_model import flow_model, run_flows
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream


def poisson_transfers(gpus: int, flows: int, load: float) -> FlowTable:
    """Return KV-like transfers from the first half of the GPUs to the second: log-normal sizes, mean 50 MB, sigma 1.5."""
    draw = stream(0, "bench")
    half, mean_bytes, sigma = gpus // 2, 50e6, 1.5
    size = draw.lognormal(np.log(mean_bytes) - sigma**2 / 2, sigma, flows)
    gap_s = mean_bytes * 8 / 400e9 / half / load
    return FlowTable(
        draw.integers(0, half, flows), half + draw.integers(0, half, flows), size, np.cumsum(draw.exponential(gap_s, flows))
    )


def all_to_all(gpus: int, size_bytes: float) -> FlowTable:
    """Return one flow per ordered pair of GPUs, all at time 0."""
    source, target = (axis.ravel() for axis in np.indices((gpus, gpus)))
    pairs = source != target
    flows = int(pairs.sum())
    return FlowTable(source[pairs], target[pairs], np.full(flows, size_bytes), np.zeros(flows))


def main() -> None:
    """Print one row per workload and fabric."""
    run_flows(flow_model(fabric := load_fabric("zcube-n16"), routing_for(fabric)), all_to_all(16, 1e6))
    print(f"{'workload':28}{'fabric':14}{'flows':>9}{'seconds':>10}{'flows/s':>12}")
    workloads = {
        "all-to-all 64 GPUs, 1 MiB": (all_to_all(64, 1 << 20), ("roft-256", "zcube-n16")),
        "5,000 Poisson KV at 60 %": (poisson_transfers(1024, 5_000, 0.6), ("roft-1024", "zcube-n32")),
    }
    for title, (flows, fabrics) in workloads.items():
        for name in fabrics:
            fabric = load_fabric(name)
            model = flow_model(fabric, routing_for(fabric))
            started = time.perf_counter()
            completions = run_flows(model, flows)
            seconds = time.perf_counter() - started
            assert np.isfinite(completions.finish_s).all()
            print(f"{title:28}{name:14}{len(flows):9}{seconds:10.3f}{len(flows) / seconds:12.0f}")


if __name__ == "__main__":
    main()
