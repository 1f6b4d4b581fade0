"""How full links are, switch by switch: one row per switch of a role, one cell per link that leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zcube.comparison import FabricResult


@dataclass(frozen=True, eq=False)
class Band:
    """The switches of one role.

    Attributes
    ----------
    role : str
        Leaf, spine, or a ZCube group.
    percent : float array [switches, links]
        Utilisation of the links that leave each switch, in percent: links to GPUs first, then links to switches, each by port
        number; nan where a switch has fewer links.
    gpu_links : int
        How many of the columns are links to GPUs.
    peers : str
        Roles of the switches that the others lead to.
    """

    role: str
    percent: np.ndarray
    gpu_links: int
    peers: str

    def collapsed(self) -> np.ndarray:
        """Return mean and maximum over links to GPUs, then over links to switches [switches, 4]; nan where there are none."""
        columns = []
        for part in (self.percent[:, : self.gpu_links], self.percent[:, self.gpu_links :]):
            known = np.isfinite(part)
            count = known.sum(axis=1)
            total = np.where(known, part, 0.0).sum(axis=1)
            columns.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
            columns.append(np.where(count > 0, np.where(known, part, 0.0).max(axis=1, initial=0.0), np.nan))
        return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class LinkLoad:
    """How full a fabric's links were over the window.

    Attributes
    ----------
    bands : tuple of Band
        Links that leave switches.
    fullest_from_gpu : float
        Utilisation of the fullest NIC link out of a GPU, in percent.
    """

    bands: tuple[Band, ...]
    fullest_from_gpu: float


def link_load(result: FabricResult) -> LinkLoad:
    """Return how full the links of a fabric's part of a comparison were."""
    table = result.run.links_in_window
    nic = table.leaves_gpu & (np.array(table.kind) == "nic")
    fullest = 100.0 * float(table.utilisation(result.run.window.length_s)[nic].max(initial=0.0))
    return LinkLoad(tuple(switch_bands(result)), fullest)


def switch_bands(result: FabricResult) -> list[Band]:
    """Return the load of every link that leaves a switch, by role of the switch.

    Empty where the run's links are not the fabric's, as under the ideal fidelity, which has no switches.
    """
    fabric, table = result.fabric, result.run.links_in_window
    if len(table.size_bytes) != fabric.links:
        return []
    percent = 100.0 * table.utilisation(result.run.window.length_s)
    first, last = fabric.gpus, fabric.gpus + fabric.switches
    link = np.flatnonzero((fabric.link_source >= first) & (fabric.link_source < last))
    source, target = fabric.link_source[link], fabric.link_target[link]
    port = np.stack([fabric.cables.a_port, fabric.cables.b_port], axis=1).ravel()[link]
    to_gpu = target < fabric.gpus
    bands = []
    for group in fabric.groups:
        mine = (source >= group.first_node) & (source < group.first_node + group.count)
        parts = [
            _cells(source[mine & side] - group.first_node, port[mine & side], percent[link[mine & side]], group.count)
            for side in (to_gpu, ~to_gpu)
        ]
        met = np.unique(target[mine & ~to_gpu])
        peers = [
            other.name for other in fabric.groups if ((met >= other.first_node) & (met < other.first_node + other.count)).any()
        ]
        bands.append(Band(group.name, np.concatenate(parts, axis=1), parts[0].shape[1], " and ".join(peers)))
    return bands


def _cells(row: np.ndarray, port: np.ndarray, percent: np.ndarray, rows: int) -> np.ndarray:
    """Return links as cells [switches, most links of a switch], by port."""
    order = np.lexsort((port, row))
    row, percent = row[order], percent[order]
    count = np.bincount(row, minlength=rows)
    column = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    cells = np.full((rows, int(count.max(initial=0))), np.nan)
    cells[row, column] = percent
    return cells
