"""What is drawn of a comparison beyond its document and tables, as data: loads of switches' links, congestion trees."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from zcube.report.link_bands import Band, LinkLoad
from zcube.report.results import Results

FIGURES_VERSION = 1


def figures_document(results: Results) -> dict[str, Any]:
    """Return it JSON-ready, by fabric; percentages of links to two decimals, null where a switch has fewer links."""
    return {
        "figures_version": FIGURES_VERSION,
        "link_load": {name: _load(load) for name, load in results.loads.items()},
        "congestion_trees": {name: [asdict(tree) for tree in trees] for name, trees in results.trees.items()},
    }


def _load(load: LinkLoad) -> dict[str, Any]:
    return {"fullest_from_gpu": load.fullest_from_gpu, "bands": [_band(band) for band in load.bands]}


def _band(band: Band) -> dict[str, Any]:
    percent = [[None if np.isnan(cell) else round(float(cell), 2) for cell in row] for row in band.percent]
    return {"role": band.role, "peers": band.peers, "gpu_links": band.gpu_links, "percent": percent}
