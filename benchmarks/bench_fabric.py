"""Time building ZCube(128,2), routing a million random pairs on it, and searching its path lengths.

Run ``python benchmarks/bench_fabric.py``. Bounds: 2 s and 1 GB for the build, 2 s for the routes; counts are asserted, so that
a faster wrong run fails.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from zcube.fabric.catalog import load_fabric
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import path_lengths
from zcube.seeds import stream

PAIRS = 1_000_000


def main() -> None:
    """Print one row per step."""
    started = time.perf_counter()
    fabric = load_fabric("zcube-n128")
    built_s = time.perf_counter() - started
    assert (fabric.gpus, fabric.switches, len(fabric.cables)) == (16_384, 256, 65_536)
    draw = stream(0, "bench")
    source, target = draw.integers(0, fabric.gpus, PAIRS), draw.integers(0, fabric.gpus, PAIRS)
    source = np.where(source == target, (source + 1) % fabric.gpus, source)
    routing = routing_for(fabric)
    started = time.perf_counter()
    routes = routing.routes(source, target)
    routed_s = time.perf_counter() - started
    assert routes.flows == PAIRS and not len(routes.unreachable)
    started = time.perf_counter()
    mean_links = path_lengths(fabric).mean_links
    searched_s = time.perf_counter() - started
    assert round(mean_links, 5) == 2.98450
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"build ZCube(128,2)                 {built_s:8.3f} s")
    print(f"route 1,000,000 pairs, P1 and P2   {routed_s:8.3f} s")
    print(f"path lengths of 268 million pairs  {searched_s:8.3f} s, compile time included where it was not cached")
    print(f"peak memory                        {peak / 1e9:8.2f} GB")
    assert built_s < 2 and routed_s < 2, "slower than its bound"


if __name__ == "__main__":
    main()
