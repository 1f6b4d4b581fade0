"""The shape of a fabric in a few numbers: path lengths, bisection, parallel paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zcube.fabric.model import Fabric
from zcube.progress import Progress, silent
from zcube.routing.bisection import halving_bisection
from zcube.routing.path_lengths import equal_paths, path_lengths
from zcube.seeds import stream

#: Pairs of GPUs whose parallel paths are counted.
SAMPLED_PAIRS = 10_000


def fabric_shape(fabric: Fabric, progress: Progress = silent) -> dict[str, Any]:
    """Return path lengths over all pairs, halving bisection, and shortest paths of sampled pairs, as JSON-ready data."""
    progress("measuring path lengths", 0, 0, "")
    lengths = path_lengths(fabric)
    progress("halving the fabric", 0, 0, "")
    shape: dict[str, Any] = {
        "diameter_switches": lengths.diameter_switches,
        "mean_path_links": _known(lengths.mean_links),
        "mean_path_links_with_nvlink_as_one": _known(lengths.mean_links_with_nvlink),
        "pairs_by_path_links": {str(links): pairs for links, pairs in lengths.pairs_by_links.items()},
        "unreachable_pairs": lengths.unreachable_pairs,
        "halving_bisection_of_nic_rate": _known(halving_bisection(fabric)),
    }
    progress("counting parallel paths", 0, 0, "")
    if fabric.servers > 1 and not fabric.structure.hosts_forward:
        draw = stream(0, "sampled pairs")
        source, target = draw.integers(0, fabric.gpus, SAMPLED_PAIRS), draw.integers(0, fabric.gpus, SAMPLED_PAIRS)
        apart = fabric.server_of(source) != fabric.server_of(target)
        counts = equal_paths(fabric, source[apart], target[apart])
        shape |= {
            "shortest_paths_per_pair": {
                "min": int(counts.min()) if len(counts) else 0,
                "median": float(np.median(counts)) if len(counts) else 0.0,
                "max": int(counts.max(initial=0)),
                "sampled_pairs": len(counts),
            }
        }
    return shape


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
