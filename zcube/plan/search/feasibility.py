"""What a fabric that was searched for still lacks, as one figure that search can bring down to 0."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.families.layered import LayeredSpec, Links
from zcube.fabric.port_numbers import links_per_port
from zcube.plan.demand import Site

#: Cables a GPU beyond which a fabric is not built; three tiers without oversubscription have three of each NIC port.
MOST_CABLES_PER_GPU = 32
#: What a genome lacks that comes to no fabric at all.
NO_FABRIC = 100.0


def lacking(spec: LayeredSpec | None, site: Site) -> float:
    """Return what a fabric lacks to meet a demand; 0 where it may be measured.

    The sum of: how far the links of a GPU are from its line rate, as a part of it; ports that are missing on the switches, as
    a part of what one has, added up; links faster than ports, 1; the part of the GPUs that have no NIC port on the part of the
    fabric that holds most of them; the part of the switches that no GPU can reach; and the mean over switches with GPUs of the
    logarithm of oversubscription over what the demand allows.
    """
    if spec is None:
        return NO_FABRIC
    cables = spec.cable_estimate() / spec.gpus
    if cables > MOST_CABLES_PER_GPU:
        return NO_FABRIC / 2 + math.log(cables)
    links = list(spec.links())
    off_rate = abs(spec.nic_gbps - site.nic_gbps) / site.nic_gbps
    too_fast = float(any(part.gbps > spec.switch.port_gbps for part in links))
    return off_rate + too_fast + _missing_ports(spec, links) + _parted(spec, links) + _narrowed(spec, links, site)


def _missing_ports(spec: LayeredSpec, links: list[Links]) -> float:
    used = np.zeros(sum(spec.layers), dtype=np.int64)
    for rate in {part.gbps for part in links}:
        ends = _ends([part for part in links if part.gbps == rate])
        counts = np.bincount(ends[ends >= spec.gpus] - spec.gpus, minlength=len(used))
        used += -(-counts // int(links_per_port(spec.switch.port_gbps, rate)))
    return float(np.maximum(0, used - spec.switch.ports).sum() / spec.switch.ports)


def _parted(spec: LayeredSpec, links: list[Links]) -> float:
    """Return the part of the GPUs off the main part, and of the switches that no GPU reaches; GPUs do not forward."""
    switches = sum(spec.layers)
    trunks = [part for part in links if part.lower]
    a = np.concatenate([part.a - spec.gpus for part in trunks]) if trunks else np.zeros(0, dtype=np.int64)
    b = np.concatenate([part.b - spec.gpus for part in trunks]) if trunks else np.zeros(0, dtype=np.int64)
    parts, part_of = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(switches, switches)), directed=False)
    held = np.zeros((parts, spec.gpus), dtype=bool)
    for part in links:
        if part.lower == 0:
            held[part_of[part.b - spec.gpus], part.a] = True
    reached = np.asarray(held.any(axis=1))[part_of]
    return float(1 - held.sum(axis=1).max() / spec.gpus + 1 - reached.mean())


def _narrowed(spec: LayeredSpec, links: list[Links], site: Site) -> float:
    down, up = _down_and_up(spec, links)
    leaf = down > 0
    # A switch that holds every GPU needs nothing above it.
    if leaf.sum() == 1 and not up.any():
        return 0.0
    ratio = down[leaf] / np.maximum(up[leaf], 1e-3 * down[leaf]) / site.demand.max_oversubscription
    return float(np.log(np.maximum(1.0, ratio * (1 - 1e-9))).mean())


def oversubscription(spec: LayeredSpec) -> float:
    """Return the most capacity down per capacity up of a switch with GPUs, 1 where there is nothing above."""
    down, up = _down_and_up(spec, list(spec.links()))
    above = (down > 0) & (up > 0)
    return float((down[above] / up[above]).max(initial=1.0))


def _down_and_up(spec: LayeredSpec, links: list[Links]) -> tuple[FloatArray, FloatArray]:
    """Return capacity to GPUs and to other switches [switches], Gb/s."""
    down, up = np.zeros(sum(spec.layers)), np.zeros(sum(spec.layers))
    for part in links:
        if part.lower == 0:
            np.add.at(down, part.b - spec.gpus, part.gbps)
        else:
            np.add.at(up, _ends([part]) - spec.gpus, part.gbps)
    return down, up


def _ends(links: list[Links]) -> IntArray:
    return np.concatenate([end for part in links for end in (part.a, part.b)])
