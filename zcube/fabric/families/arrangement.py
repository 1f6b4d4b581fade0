"""The cheapest arrangement of leaves, spines and cores that meets an oversubscription.

An arrangement gives every leaf ``down`` ports for NICs and ``up`` uplinks, the same number to each spine of its pod. It meets
the oversubscription if ``down / up`` is at most that. Above the leaves nothing is oversubscribed: with three tiers a spine has
at least as many links up as down, the same number to each core of its plane.

Cheapest means, in this order: fewest switches; fewest cables between switches; most down ports a leaf, so that leaves are
filled before another is begun; most leaves a pod. What a smaller oversubscription allows, a larger one allows too, so the
larger one never takes more switches, nor as many and more cables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, combinations
from typing import NamedTuple

from zcube.fabric.structure import Structure

#: Ratios closer than this are equal: 42 ports at 1.4 : 1 are 30 uplinks.
ROUNDING = 1e-9


class Sizes(NamedTuple):
    """How many switches and links each tier has."""

    down: int
    up: int
    leaves: int
    leaves_per_pod: int
    pods: int
    spines_per_pod: int
    plane_spines: int
    plane_cores: int
    cores: int
    spine_up: int = 0

    @property
    def switches(self) -> int:
        """Switches of all tiers."""
        return self.leaves + self.pods * self.spines_per_pod + self.cores

    @property
    def trunks(self) -> int:
        """Cables between switches."""
        return self.leaves * self.up + self.pods * self.spines_per_pod * self.spine_up

    def described(self) -> dict[str, float | int | None]:
        """Return what a reader wants to know of an arrangement, JSON-ready."""
        shown: dict[str, float | int | None] = {
            "leaves": self.leaves,
            "down_ports": self.down,
            "up_ports": self.up,
            "oversubscription_of_a_leaf": self.down / self.up if self.up else None,
            "spines": self.pods * self.spines_per_pod,
            "links_from_a_leaf_to_a_spine": self.up // self.spines_per_pod if self.spines_per_pod else 0,
        }
        if self.cores:
            shown |= {"pods": self.pods, "leaves_per_pod": self.leaves_per_pod, "spines_per_pod": self.spines_per_pod}
            shown |= {"spine_up_ports": self.spine_up, "cores": self.cores}
        return shown


@dataclass(frozen=True)
class ClosStructure(Structure):
    """Tiers of leaves, spines and cores."""

    sizes: Sizes

    def arrangement(self) -> dict[str, float | int | None]:
        """Return what a reader wants to know of the tiers."""
        return self.sizes.described()


@dataclass(frozen=True)
class Demand:
    """What leaves have to take, and what is fixed about them.

    Attributes
    ----------
    ports : int
        NIC ports to be taken by the leaves of one number: of one rail, or all.
    rails : int
        Leaves of a unit: as many are begun at once.
    whole : int
        Down ports are a multiple of this.
    radix : int
        Ports of every switch.
    oversubscription : float
        Most down ports per uplink of a leaf.
    down, up, spines : int, optional
        Of a leaf, of a leaf, and of a pod; searched where None.
    divisible : bool
        Whether a leaf may have fewer down ports than ``whole``.
    spine_radix : int, optional
        Ports of a spine, with two tiers; None: as many as a leaf.
    """

    ports: int
    rails: int
    whole: int
    radix: int
    oversubscription: float
    down: int | None = None
    up: int | None = None
    spines: int | None = None
    divisible: bool = False
    spine_radix: int | None = None

    def leaves(self, down: int) -> int:
        """Return the leaves that take all ports with so many down ports each."""
        return -(-self.ports // down) * self.rails

    def uplinks(self, down: int) -> int:
        """Return the fewest uplinks that so many down ports may have."""
        return max(1, math.ceil(down / self.oversubscription - ROUNDING))

    def rounded(self, down: int) -> int:
        """Return the most down ports up to a number that a leaf may have; 0 if it may have none."""
        return down - down % self.whole if down >= self.whole else down * self.divisible

    def most_down(self, up: int | None = None) -> int:
        """Return the most down ports of a leaf, beside so many uplinks or the fewest allowed; 0 if there is no room."""
        ratio = self.oversubscription
        if up is None:
            return self.rounded(int(self.radix * ratio / (1 + ratio) + ROUNDING))
        return self.rounded(min(self.radix - up, int(up * ratio + ROUNDING)))


@lru_cache(maxsize=256)
def cheapest(demand: Demand, tiers: int = 2, leaves_per_pod: int | None = None) -> Sizes | None:
    """Return the cheapest arrangement, None if there is none.

    Parameters
    ----------
    demand : Demand
        What the leaves have to take.
    tiers : int
        2 or 3.
    leaves_per_pod : int, optional
        Three tiers only; searched where None.
    """
    alone = demand.down or demand.rounded(demand.radix)
    if demand.up is None and demand.spines is None and alone and demand.leaves(alone) == 1 and alone <= demand.radix:
        return Sizes(alone, 0, 1, 1, 1, 0, 0, 0, 0)
    best: Sizes | None = None
    # Uplinks of all leaves together; each takes a port of a spine and, with three tiers, another one and one of a core.
    crossing = demand.ports * demand.rails / demand.oversubscription
    above = (
        crossing / (demand.spine_radix or demand.radix)
        if tiers == 2
        else crossing / (demand.radix // 2 or 1) + crossing / demand.radix
    )
    for down in _downs(demand):
        leaves = demand.leaves(down)
        if best is not None and leaves + above > best.switches:
            break
        found = _two_tiers(demand, down, leaves) if tiers == 2 else _three_tiers(demand, down, leaves, leaves_per_pod, best)
        for sizes in found:
            if best is None or _cost(sizes) < _cost(best):
                best = sizes
    return best


def what_would_fit(demand: Demand, tiers: int = 2, leaves_per_pod: int | None = None) -> str:
    """Return the cheapest arrangement that keeps as many as possible of the numbers that were set, in words."""
    for freed in chain.from_iterable(combinations(("spines", "up", "down"), count) for count in (1, 2, 3)):
        down, up, spines = (None if name in freed else getattr(demand, name) for name in ("down", "up", "spines"))
        sizes = cheapest(replace(demand, down=down, up=up, spines=spines), tiers, leaves_per_pod)
        if sizes is not None:
            spines = f", spines = {sizes.spines_per_pod}" if sizes.up else ", which one leaf takes"
            return f"down_ports = {sizes.down}, up_ports = {sizes.up}{spines} would fit"
    return "no such arrangement fits"


def faults(demand: Demand) -> list[str]:
    """Return what is wrong with the numbers that were set, before any arrangement is looked for."""
    found, radix = [], demand.radix
    for name, ports in (("down_ports", demand.down), ("up_ports", demand.up)):
        if ports is not None and ports > radix:
            found.append(f"{name} = {ports} to be at most the {radix} ports of the switch")
    if demand.down is not None and demand.rounded(demand.down) != demand.down:
        found.append(f"down_ports = {demand.down} to be a multiple of {demand.whole}, for whole servers")
    if demand.down is not None and demand.up is not None:
        if demand.down <= radix and demand.up <= radix < demand.down + demand.up:
            found.append(f"down_ports = {demand.down} and up_ports = {demand.up} to be at most {radix} together")
        if demand.up < demand.uplinks(demand.down):
            found.append(
                f"up_ports of at least {demand.uplinks(demand.down)} for down_ports = {demand.down} at oversubscription = "
                f"{demand.oversubscription:g}, not {demand.up}, which is {demand.down / demand.up:g}"
            )
    if demand.up is not None and demand.spines is not None and demand.up % demand.spines:
        found.append(f"up_ports = {demand.up} to be a multiple of spines = {demand.spines}")
    return found


def _cost(sizes: Sizes) -> tuple[int, int, int, int]:
    return sizes.switches, sizes.trunks, -sizes.down, -sizes.leaves_per_pod


def _downs(demand: Demand) -> Iterator[int]:
    """Yield the fewest down ports that each number of leaves needs, fewest leaves first."""
    if demand.down is not None:
        yield demand.down
        return
    down = demand.most_down(demand.up)
    while down > 0:
        units = -(-demand.ports // down)
        least = -(-demand.ports // units)
        if least >= demand.whole or not demand.divisible:
            least = -(-least // demand.whole) * demand.whole
        yield least
        down = demand.rounded(least - 1)


def _spines(demand: Demand, down: int, fewest: int, most_parallel: int) -> Iterator[tuple[int, int]]:
    """Yield spines of a pod, fewest first, and the fewest parallel links from each leaf to each of them."""
    least = demand.uplinks(down)
    most = demand.radix - down
    if demand.spines is not None:
        counts = range(demand.spines, demand.spines + 1)
    else:
        counts = range(max(fewest, -(-least // most_parallel)), most + 1)
    for spines in counts:
        parallel = -(-(demand.up or least) // spines)
        if demand.up is not None and demand.up % spines:
            continue
        if least <= spines * parallel <= most and parallel <= most_parallel:
            yield spines, parallel


def _filled(demand: Demand, down: int, up: int) -> int:
    """Return the most down ports a leaf can have beside its uplinks, where they were not set."""
    return down if demand.down is not None else demand.most_down(up)


def _two_tiers(demand: Demand, down: int, leaves: int) -> Iterator[Sizes]:
    """Yield the arrangement with fewest spines for so many leaves; of these, the one with fewest cables."""
    radix = demand.spine_radix or demand.radix
    if leaves <= radix:
        for spines, parallel in _spines(demand, down, 1, radix // leaves):
            up = spines * parallel
            yield Sizes(_filled(demand, down, up), up, leaves, leaves, 1, spines, 0, 0, 0)
            return


def _three_tiers(demand: Demand, down: int, leaves: int, leaves_per_pod: int | None, best: Sizes | None) -> Iterator[Sizes]:
    """Yield arrangements of so many leaves in pods; those that cannot be cheaper than the best so far are left out."""
    half = demand.radix // 2
    crossing = leaves * demand.uplinks(down)
    for pods in range(-(-leaves // (leaves_per_pod or max(half, 1))), leaves + 1):
        members = leaves_per_pod or -(-leaves // pods)
        together = min(members, leaves)
        if pods > demand.radix or together > half:
            return
        if leaves_per_pod is None and pods > 1 and -(-leaves // (pods - 1)) == members:
            continue
        fewest = -(-together * demand.uplinks(down) // half)
        for spines, parallel in _spines(demand, down, fewest, half // together):
            if best is not None and leaves + pods * spines + crossing / demand.radix > best.switches:
                break
            planes = core_planes(pods, spines, together * parallel, demand.radix)
            if planes is None:
                continue
            plane, cores, spine_up = planes
            if leaves_per_pod is None and pods > 1:
                members = min(spine_up, demand.radix - spine_up) // parallel
            up = spines * parallel
            total = cores * (spines // plane)
            sizes = Sizes(_filled(demand, down, up), up, leaves, members, pods, spines, plane, cores, total, spine_up)
            best = sizes if best is None or _cost(sizes) < _cost(best) else best
            yield sizes
        if leaves_per_pod is not None:
            return


def core_planes(pods: int, spines_per_pod: int, spine_down: int, radix: int) -> tuple[int, int, int] | None:
    """Return spines of a pod that share a core plane, cores of a plane, and uplinks of a spine, for the fewest cores.

    Every spine of a plane has ``uplinks / cores`` parallel links to each core of its plane, and at least as many links up as
    down; among as many cores, the fewest links. None if nothing fits.
    """
    best: tuple[int, int, int] | None = None
    fewest = (0, 0)
    for plane in (count for count in range(1, spines_per_pod + 1) if spines_per_pod % count == 0):
        for parallel in range(min(spine_down, radix // (pods * plane)), 0, -1):
            cores = -(-spine_down // parallel)
            cost = cores * (spines_per_pod // plane), cores * parallel
            if spine_down + cores * parallel <= radix and (best is None or cost < fewest):
                best, fewest = (plane, cores, cores * parallel), cost
            if best is not None and cost[0] > fewest[0]:
                break
    return best


def spread_evenly(uplinks: int, ports: int, uplinks_per_switch: int) -> int:
    """Return the fewest upper switches that take all uplinks and split each lower switch's uplinks evenly.

    Parameters
    ----------
    uplinks : int
        Links to be taken, all lower switches together.
    ports : int
        Ports an upper switch offers downwards.
    uplinks_per_switch : int
        Uplinks of one lower switch.

    Returns
    -------
    int
        The count, or 0 if no count does.
    """
    fewest = -(-uplinks // ports)
    return next((count for count in range(fewest, uplinks_per_switch + 1) if uplinks_per_switch % count == 0), 0)
