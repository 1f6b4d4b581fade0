"""Pluggable modules and direct-attach cables by lanes: what is sold, and how far it reaches.

A module has so many lanes of one rate (4 x 100G). Two modules link lane to lane, so that both ends of a link need lanes of one
rate, as many of them and one grade of fibre; 4 x 50G does not link to half of 4 x 100G, whose lanes cannot run slower (NVIDIA
LinkX user guide for 100G-PAM4). A module whose lanes lead to several far ends by a splitter cable is still one module; one that
sits at a two-lane leg runs two of its four lanes (ibid.), so that it is named by the lanes in use.

Sources: IEEE 802.3ba (10G lanes), 802.3bm, 802.3by and 802.3bs (25G), 802.3cd, 802.3cm and 802.3bs (50G), 802.3db, 802.3bs,
802.3cu and 802.3df (100G), 802.3dj (200G, draft); reaches of 100G lanes as vendors sell them (NVIDIA LinkX, 400G: copper 3 m,
with amplifiers 5 m; SR4 50 m, which 802.3db calls VR4; DR4 100 m and its 500 m variant). Wavelength-multiplexed modules (FR4)
are left out: a splitter cannot part them.
"""

from __future__ import annotations

from typing import NamedTuple

from zcube.fabric.model import CableMedium


class Grade(NamedTuple):
    """A grade of cable, in the order in which reach is bought; ``cable_type`` is NetBox's name."""

    name: str
    cable_type: str
    medium: CableMedium


GRADES = (
    Grade("passive copper", "dac-passive", CableMedium.COPPER),
    Grade("active copper", "dac-active", CableMedium.COPPER),
    Grade("multimode fibre", "mmf-om4", CableMedium.FIBRE),
    Grade("single-mode fibre", "smf-os2", CableMedium.FIBRE),
    Grade("single-mode fibre, 500 m", "smf-os2", CableMedium.FIBRE),
    Grade("single-mode fibre, 2 km", "smf-os2", CableMedium.FIBRE),
)
PASSIVE, ACTIVE, MULTIMODE, SINGLE, SINGLE_500M, SINGLE_2KM = range(len(GRADES))


class ModuleKind(NamedTuple):
    """What goes into a cage: a module, or the plug of a copper cable.

    Attributes
    ----------
    lanes : int
        Lanes, each direction.
    lane_gbps : int
        Rate of a lane, Gb/s.
    grade : int
        Place in :data:`GRADES`.
    name : str
        IEEE 802.3's or the trade's name without the rate, e.g. ``SR4``.
    reach_m : float
        Longest cable, metres.
    """

    lanes: int
    lane_gbps: int
    grade: int
    name: str
    reach_m: float

    @property
    def gbps(self) -> int:
        """Rate of all lanes together, Gb/s."""
        return self.lanes * self.lane_gbps


#: Lane rate, numbers of lanes, grade, name with {n} for the lanes, reach in metres.
_SOLD: tuple[tuple[int, tuple[int, ...], int, str, float], ...] = (
    (10, (1, 4), PASSIVE, "CR{n}", 3),
    (10, (1, 4), ACTIVE, "CR{n}", 5),
    (10, (1, 4), MULTIMODE, "SR{n}", 150),
    (25, (1, 4), PASSIVE, "CR{n}", 3),
    (25, (1, 4), ACTIVE, "CR{n}", 5),
    (25, (1, 4), MULTIMODE, "SR{n}", 100),
    (25, (16,), MULTIMODE, "SR16", 100),
    (25, (4,), SINGLE_500M, "PSM4", 500),
    (50, (1, 2, 4, 8), PASSIVE, "CR{n}", 3),
    (50, (1, 2, 4, 8), ACTIVE, "CR{n}", 5),
    (50, (1, 2, 4, 8), MULTIMODE, "SR{n}", 100),
    (50, (4,), SINGLE_500M, "DR4", 500),
    (100, (1, 2, 4, 8), PASSIVE, "CR{n}", 3),
    (100, (1, 2, 4, 8), ACTIVE, "CR{n}", 5),
    (100, (1, 2, 4, 8), MULTIMODE, "SR{n}", 50),
    (100, (1, 2, 4, 8), SINGLE, "DR{n}", 100),
    (100, (1, 2, 4, 8), SINGLE_500M, "DR{n}-500m", 500),
    (100, (1, 2, 4, 8), SINGLE_2KM, "DR{n}-2", 2000),
    (200, (1, 2, 4, 8), PASSIVE, "CR{n}", 1),
    (200, (1, 2, 4, 8), SINGLE_500M, "DR{n}", 500),
    (200, (1, 2, 4, 8), SINGLE_2KM, "DR{n}-2", 2000),
)

MODULE_KINDS = tuple(
    ModuleKind(lanes, lane_gbps, grade, name.format(n=lanes), reach_m)
    for lane_gbps, counts, grade, name, reach_m in _SOLD
    for lanes in counts
)

#: Lane rates in the order in which they are tried where no device asks for one: the generation of 400G and 800G ports first.
LANE_RATES = (100, 50, 25, 10, 200)
#: Rates for which there are modules, Gb/s. A link of another rate runs on the next faster.
MODULE_RATES = tuple(sorted({kind.gbps for kind in MODULE_KINDS}))

_LANES = {lane_gbps: sorted({kind.lanes for kind in MODULE_KINDS if kind.lane_gbps == lane_gbps}) for lane_gbps in LANE_RATES}
_SLACK = 1 + 1e-9


def lanes_for(gbps: float, lane_gbps: int) -> int:
    """Return the fewest lanes of a rate that a module sold has and that carry ``gbps``; 0 where there is none."""
    return next((lanes for lanes in _LANES[lane_gbps] if lanes * lane_gbps * _SLACK >= gbps), 0)


def link_lanes(gbps: float, lane_gbps: int) -> int:
    """Return how many lanes of a rate a link takes, 0 where links of its rate are not made of such lanes."""
    rate = next((rate for rate in MODULE_RATES if rate * _SLACK >= gbps), 0)
    lanes = rate // lane_gbps
    return lanes if lanes * lane_gbps == rate and lanes in _LANES[lane_gbps] else 0


def kind_of(lanes: int, lane_gbps: int, grade: int) -> ModuleKind | None:
    """Return what is sold with these lanes in a grade."""
    return _BY_LANES.get((lanes, lane_gbps, grade))


_BY_LANES = {(kind.lanes, kind.lane_gbps, kind.grade): kind for kind in MODULE_KINDS}
