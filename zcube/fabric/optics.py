"""The one optics table: every cage with its lanes, its module or plug and the far ends it reaches, under a named rule.

Counts, bill and cable schedule are sums over it. A rule says which links are copper and which fibre:

* ``paper``: as the ATOP/ZCube paper counts (SIGCOMM 2025, doi 10.1145/3718958.3750503): copper where a server's NICs share a
  switch or switches stand together, whatever the length; every link's end is a port and cage of its own;
* ``all-optical``: fibre everywhere;
* ``by-length``: the least grade of cable that reaches, in a machine room.

Under the last two a cage is a native port: links that split it share one module (2x200G of 400G) and leave by one splitter
cable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray, distinct
from zcube.errors import Fault, InputError
from zcube.fabric.cages import Cages, cages_of, distinct_rows
from zcube.fabric.lane_pairing import PairedLanes, pair_lanes
from zcube.fabric.model import CableKind, CableMedium, Fabric
from zcube.fabric.modules import GRADES, ModuleKind, kind_of

if TYPE_CHECKING:
    from zcube.fabric.wiring.rack_layout import RackLayout

OpticsRule = Literal["paper", "all-optical", "by-length"]

#: Rules by name, in words.
OPTICS_RULES: Mapping[str, str] = MappingProxyType(
    {
        "paper": (
            "the ATOP/ZCube paper's: copper where a server's NICs share a switch or switches stand together, else fibre with "
            "two modules; every link's end is a port of its own at the link's rate"
        ),
        "all-optical": (
            "every NIC and inter-switch link is fibre; a native port is one cage, and the links that split it share its module"
        ),
        "by-length": (
            "the least grade of cable that reaches by the lengths of the machine room: copper, else fibre; a native port is "
            "one cage, the links that split it share its module and grade; links split at both ends are fibre"
        ),
    }
)

_IS_COPPER = np.array([grade.medium == CableMedium.COPPER for grade in GRADES])


@dataclass(frozen=True, eq=False)
class Optics:
    """The optics of a fabric under a rule.

    Attributes
    ----------
    fabric : Fabric
        What is built; failed cables are counted too.
    rule : str
        A key of :data:`OPTICS_RULES`.
    cages : Cages
        Devices, rates, links of every cage.
    lanes, lane_gbps : int array [cages]
        Lanes of the module or plug, and their rate in Gb/s.
    grade : int array [cages]
        Grade of its cable, the place in :data:`~zcube.fabric.modules.GRADES`; the least possible where the rule goes without
        lengths and no room is given.
    link_lanes : int array [links]
        Lanes of each link, the same at both ends.
    length_m : float array [links]
        Length ordered, metres; nan without a room.
    route_m : float array [links]
        Length of the way it runs, metres; nan without a room.
    within_reach : bool array [cages]
        False where the rule asks for copper and none of that length is made.
    """

    fabric: Fabric
    rule: str
    cages: Cages
    lanes: IntArray
    lane_gbps: IntArray
    grade: IntArray
    link_lanes: IntArray
    length_m: FloatArray
    route_m: FloatArray
    within_reach: BoolArray

    @cached_property
    def module(self) -> BoolArray:
        """Whether a cage holds a module; else it takes the plug of a copper cable [cages]."""
        return ~_IS_COPPER[self.grade]

    @property
    def at_nic(self) -> BoolArray:
        """Whether a cage is a NIC's [cages]."""
        return self.cages.gpu >= 0

    @property
    def link_is_fibre(self) -> BoolArray:
        """Whether a link is fibre; both its cages say the same [links]."""
        return self.module[self.cages.of_end[:, 0]]

    @property
    def module_gbps(self) -> IntArray:
        """Rate of a cage's module or plug, all lanes together, Gb/s [cages]."""
        return self.lanes * self.lane_gbps

    @cached_property
    def far(self) -> tuple[IntArray, IntArray]:
        """Cages at the far ends, one entry a link: ``far[1][far[0][c]:far[0][c + 1]]`` are those of cage c."""
        near, far = self.cages.of_end.ravel(), self.cages.of_end[:, ::-1].ravel()
        order = np.argsort(near, kind="stable")
        return np.concatenate([[0], np.cumsum(np.bincount(near, minlength=len(self.cages)))]), far[order]

    @cached_property
    def far_cages(self) -> IntArray:
        """How many different cages each cage reaches [cages]."""
        return _far_cages(self.cages)

    @cached_property
    def assembly(self) -> IntArray:
        """The cable plugged into each cage, named by its head: where it splits, or the lower end of a straight cable [cages].

        A cage that reaches several has a splitter cable. Where links are split at both ends the legs of two splitters meet in a
        coupler.
        """
        first, far = self.far
        other = far[first[:-1]]
        head = np.where(self.far_cages[other] > 1, other, np.minimum(other, np.arange(len(self.cages))))
        return np.where(self.far_cages > 1, np.arange(len(self.cages)), head)

    def kinds(self) -> list[ModuleKind]:
        """Return what goes into each cage [cages]."""
        return [_sold(*row) for row in zip(self.lanes.tolist(), self.lane_gbps.tolist(), self.grade.tolist())]


def optics_of(fabric: Fabric, rule: str, layout: RackLayout | None = None) -> Optics:
    """Return the optics table of a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    rule : str
        A key of :data:`OPTICS_RULES`.
    layout : RackLayout, optional
        The machine room. ``by-length`` takes the default room if there is none; the other rules then go without lengths.

    Raises
    ------
    InputError
        If there is no such rule, two cables share a port, a link cannot have equal lanes at both ends, or a cable is longer
        than any that is stocked or reaches.
    """
    if rule not in OPTICS_RULES:
        raise InputError(Fault("optics", repr(rule), "one of " + ", ".join(OPTICS_RULES)))
    cages = cages_of(fabric, per_link=rule == "paper")
    lanes = pair_lanes(fabric, cages)
    room = layout
    if room is None and rule == "by-length":
        from zcube.fabric.wiring.rack_layout import RackLayout

        room = RackLayout()
    route_m = length_m = np.full(len(cages.of_end), np.nan)
    if room is not None:
        device = cages.places.device
        route_m = room.place(fabric).route_m(device[:, 0], device[:, 1])
        length_m = room.ordered_m(route_m, f"{fabric.name}: cables")
    grade, within_reach = _grades(fabric, rule, cages, lanes, np.nan_to_num(length_m))
    return Optics(fabric, rule, cages, lanes.lanes, lanes.lane_gbps, grade, lanes.link_lanes, length_m, route_m, within_reach)


def _grades(fabric: Fabric, rule: str, cages: Cages, lanes: PairedLanes, length_m: FloatArray) -> tuple[IntArray, BoolArray]:
    """Return each cage's grade and whether it reaches; cages joined by links have one grade, that of the longest."""
    bundles, of_cage = _bundles(cages)
    of_link = of_cage[cages.of_end[:, 0]]
    longest = np.zeros(bundles)
    np.maximum.at(longest, of_link, length_m)
    reach = np.full((bundles, len(GRADES)), np.inf)
    np.minimum.at(reach, of_cage, _reach_m(lanes))
    copper = _copper_allowed(fabric, rule, cages, of_link, bundles)
    reach[np.outer(~copper, _IS_COPPER)] = 0.0
    if rule == "paper":
        reach[np.outer(copper, ~_IS_COPPER)] = 0.0
    reaches = (reach >= longest[:, None]) & (reach > 0)
    # Copper asked for by the rule stays copper where none is made so long: the longest there is, marked.
    longest_grade = np.argmax(reach, axis=1)
    within: BoolArray = np.any(reaches, axis=1)
    out = ~within & (~_IS_COPPER[longest_grade] | (reach.max(axis=1) == 0))
    if out.any():
        raise InputError(_too_long(fabric, cages, lanes, of_cage, longest, reach, np.flatnonzero(out)))
    grade = np.where(within, np.argmax(reaches, axis=1), longest_grade)
    return grade[of_cage], within[of_cage]


def _bundles(cages: Cages) -> tuple[int, IntArray]:
    """Return how many sets of cages there are that links join, and the set of each cage."""
    a, z = cages.of_end.T
    # Each takes the lowest number among those that it is joined to, until none changes. SciPy takes longer to load.
    lowest = np.arange(len(cages))
    while True:
        before, least = lowest, np.minimum(lowest[a], lowest[z])
        lowest = lowest.copy()
        np.minimum.at(lowest, a, least)
        np.minimum.at(lowest, z, least)
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            names, of_cage = np.unique(lowest, return_inverse=True)
            return len(names), of_cage.astype(np.int64)


def _copper_allowed(fabric: Fabric, rule: str, cages: Cages, of_link: IntArray, bundles: int) -> BoolArray:
    """Return which sets of cages may be copper [bundles]."""
    allowed: BoolArray = np.full(bundles, rule != "all-optical")
    if rule == "paper":
        allowed[of_link] = fabric.cables.medium[cages.places.cable] == CableMedium.COPPER
    elif rule == "by-length":
        # A copper splitter has fixed plugs: its legs cannot meet those of another.
        far = _far_cages(cages)[cages.of_end]
        allowed[of_link[(far > 1).all(axis=1)]] = False
    return allowed


def _far_cages(cages: Cages) -> IntArray:
    """Return how many different cages each cage reaches."""
    a, z = cages.of_end.T.astype(np.int64)
    pairs = distinct(np.concatenate([a * len(cages) + z, z * len(cages) + a]))
    return np.bincount(pairs // max(1, len(cages)), minlength=len(cages))


def _reach_m(lanes: PairedLanes) -> FloatArray:
    """Return how far each grade reaches from each cage, 0 where nothing is sold [cages, grades]."""
    pairs = np.stack([lanes.lanes, lanes.lane_gbps], axis=1)
    first, of_cage = distinct_rows(pairs)
    sold = [[kind_of(count, gbps, grade) for grade in range(len(GRADES))] for count, gbps in pairs[first].tolist()]
    reach = np.array([[0.0 if kind is None else kind.reach_m for kind in row] for row in sold])
    return reach.reshape(-1, len(GRADES))[of_cage]


def _too_long(
    fabric: Fabric, cages: Cages, lanes: PairedLanes, of_cage: IntArray, longest: FloatArray, reach: FloatArray, out: IntArray
) -> list[Fault]:
    bundle = out[np.argmax(longest[out])]
    inside = zip(*(column[of_cage == bundle].tolist() for column in (lanes.lanes, lanes.lane_gbps)))
    modules = sorted({f"{count * gbps}G of {count} x {gbps}G" for count, gbps in inside})
    found = f"a cable of {longest[bundle]:g} m between modules of {' and '.join(modules)}"
    return [Fault(f"{fabric.name}: cables", found, f"at most {reach[bundle].max():g} m, as far as such modules reach")]


def _sold(lanes: int, lane_gbps: int, grade: int) -> ModuleKind:
    kind = kind_of(lanes, lane_gbps, grade)
    assert kind is not None  # chosen among those that are sold
    return kind


def cable_use(optics: Optics) -> IntArray:
    """Return the :class:`~zcube.fabric.model.CableKind` of the link that each cage's cable carries, NIC first [cages]."""
    use = np.full(len(optics.cages), int(CableKind.SWITCH))
    kind = optics.fabric.cables.kind[optics.cages.places.cable]
    for end in (0, 1):
        np.minimum.at(use, optics.cages.of_end[:, end], kind)
    return use
