"""What single and double failures do to a fabric: GPUs cut off, bandwidth lost, transfers slowed down.

Every single failure of a switch, a link and a NIC is judged for whom it cuts off and what it takes away; that is counting. How
much slower transfers get takes a run each (:mod:`zcube.network.degradation`), so failures that look alike share some: a class
are switches of one group with as many cables to GPUs and to switches, links that join the same groups at one rate, and all
NICs. A named number of each class is drawn and simulated. Pairs of failures are drawn, each of two different things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.network.degradation import degradation, intact_times_s
from zcube.plan.reach import Reach
from zcube.progress import Progress, silent
from zcube.routing.relay import FallBack
from zcube.routing.routes import Routing
from zcube.seeds import stream

if TYPE_CHECKING:
    import pandas as pd

#: Servers that each sends to at once in a simulated failure.
PARTNERS = 2
#: Failures of a class that are simulated, and pairs of failures drawn.
SIMULATED, DOUBLES = 2, 20
MAX_SIMULATED, MAX_DOUBLES = 1000, 10_000
#: GPUs that a failure does not cut off from others may still go over NVLink; that is what slow-downs are taken with.
FALL_BACK: FallBack = "nvlink-relay"


class Failure(NamedTuple):
    """Something that can fail: its kind, its class, its name as ``--fail`` takes it, and its cables."""

    kind: str
    like: str
    name: str
    cables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailureRow:
    """What the failures of one class do.

    Attributes
    ----------
    kind, like : str
        ``switch``, ``link``, ``nic`` or ``two``, and the class.
    count, simulated : int
        Failures judged, and simulated.
    cut_off_mean, cut_off_worst, cut_off_which : float, int, str
        GPUs that cannot reach, through switches, others that they could; the failure that cuts off most.
    nic_lost_mean, nic_lost_worst : float
        Part of all NIC bandwidth that is gone.
    trunk_lost_mean, trunk_lost_worst : float
        Part of the bandwidth between switches that is gone; 0 where there is none.
    slower_mean, slower_worst, slower_which : float or None, float or None, str
        By what part transfers between servers take longer on the mean over all of them; the worst of the simulated failures;
        None where nothing was simulated or carried.
    """

    kind: str
    like: str
    count: int
    simulated: int
    cut_off_mean: float
    cut_off_worst: int
    cut_off_which: str
    nic_lost_mean: float
    nic_lost_worst: float
    trunk_lost_mean: float
    trunk_lost_worst: float
    slower_mean: float | None
    slower_worst: float | None
    slower_which: str

    def document(self) -> dict[str, Any]:
        """Return the row as JSON-ready data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class FailureReport:
    """The failures of a fabric, by class.

    Attributes
    ----------
    fabric, routing : str
        What was judged.
    partners, seed : int
        Of the transfers that slow-downs are taken with.
    rows : tuple of FailureRow
        By class.
    switches : mapping of float
        Slow-down of every single failure of a switch that was simulated; infinite where nothing was carried.
    """

    fabric: str
    routing: str
    partners: int
    seed: int
    rows: tuple[FailureRow, ...]
    switches: Mapping[str, float]

    def table(self) -> pd.DataFrame:
        """Return one row per class."""
        import pandas as pd

        return pd.DataFrame([row.document() for row in self.rows])

    def document(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "fabric": self.fabric,
            "routing": self.routing,
            "partners": self.partners,
            "seed": self.seed,
            "fall_back": FALL_BACK,
            "rows": [row.document() for row in self.rows],
            "switches_simulated": {name: value if np.isfinite(value) else None for name, value in self.switches.items()},
        }


def failure_report(
    fabric: Fabric,
    route: Callable[[Fabric], Routing],
    *,
    simulated: int = SIMULATED,
    doubles: int = DOUBLES,
    partners: int = PARTNERS,
    seed: int = 0,
    progress: Progress = silent,
) -> FailureReport:
    """Return what single failures, and drawn pairs of them, do to a fabric.

    Parameters
    ----------
    fabric : Fabric
        With nothing failed.
    route : callable
        Binds the routing policy, with its fall-back, to a fabric.
    simulated : int
        Failures of each class whose slow-down is simulated; 0 for none.
    doubles : int
        Pairs of failures drawn.
    partners : int
        Servers that each server sends to at once; cut to what the fabric has.
    seed : int
        Of what is drawn.
    progress : Progress, optional
        Told what is under way.

    Raises
    ------
    InputError
        If something has failed already, or a number is out of range; with every such fault.
    """
    _check(fabric, simulated, doubles, partners)
    partners = min(partners, fabric.servers - 1)
    singles = list(single_failures(fabric))
    drawn = _pairs(singles, doubles, seed)
    judge = _Judge(fabric, route, partners, seed)
    rows = []
    classes: dict[tuple[str, str], list[Failure]] = {}
    for failure in (*singles, *drawn):
        classes.setdefault((failure.kind, failure.like), []).append(failure)
    for done, (key, members) in enumerate(classes.items()):
        progress("judging failures", done, len(classes), "classes")
        rows.append(judge.row(*key, members, simulated if partners else 0))
    return FailureReport(fabric.name, route(fabric).name, partners, seed, tuple(rows), judge.switches)


def single_failures(fabric: Fabric) -> Iterator[Failure]:
    """Yield every switch, every link between switches and to a NIC port, and every NIC with all its ports."""
    cables = fabric.cables
    wired = np.flatnonzero(cables.kind != CableKind.NVLINK)
    group = _groups(fabric)
    at: dict[int, list[int]] = {}
    for cable in wired.tolist():
        for end in (cables.a, cables.b):
            at.setdefault(int(end[cable]), []).append(cable)
    is_nic = cables.kind == CableKind.NIC
    for node in range(fabric.gpus, fabric.gpus + fabric.switches):
        held = at.get(node, [])
        nics = int(is_nic[held].sum()) if held else 0
        like = f"{group[node]} with {nics} cables to GPUs and {len(held) - nics} to switches"
        yield Failure("switch", like, f"switch:{fabric.node_name(node)}", tuple(held))
    parallel: dict[tuple[int, int], int] = {}
    for cable in wired.tolist():
        a, b = int(cables.a[cable]), int(cables.b[cable])
        number = parallel.get((a, b), 0)
        parallel[a, b] = number + 1
        name = f"link:{fabric.node_name(a)}-{fabric.node_name(b)}#{number}"
        yield Failure("link", f"{group[a]} to {group[b]}, {cables.gbps[cable]:g}G", name, (cable,))
    for gpu in range(fabric.gpus):
        yield Failure("nic", "every NIC", f"nic:{fabric.node_name(gpu)}", tuple(fabric.nic_cable[gpu].tolist()))


def _groups(fabric: Fabric) -> list[str]:
    """Return what each node is called as one of many."""
    names = ["GPU"] * fabric.gpus
    for group in fabric.groups:
        names += [group.name] * group.count
    return names


def _pairs(singles: Sequence[Failure], doubles: int, seed: int) -> list[Failure]:
    """Draw pairs of different failures, each kind as likely as any other for either place."""
    draw = stream(seed, "double failures")
    by_kind: dict[str, list[Failure]] = {}
    for failure in singles:
        by_kind.setdefault(failure.kind, []).append(failure)
    kinds = list(by_kind)
    pairs = []
    for _ in range(doubles if len(singles) > 1 else 0):
        one, other = (by_kind[kinds[int(draw.integers(len(kinds)))]] for _ in range(2))
        first = one[int(draw.integers(len(one)))]
        second = next(islice(_others(other, first, draw), 1), None)
        if second is not None:
            cables = tuple(dict.fromkeys((*first.cables, *second.cables)))
            pairs.append(Failure("two", "drawn pairs", f"{first.name},{second.name}", cables))
    return pairs


def _others(members: Sequence[Failure], first: Failure, draw: np.random.Generator) -> Iterator[Failure]:
    if any(member.name != first.name for member in members):
        while True:
            chosen = members[int(draw.integers(len(members)))]
            if chosen.name != first.name:
                yield chosen


class _Judge:
    """Counts and simulates the failures of one fabric."""

    def __init__(self, fabric: Fabric, route: Callable[[Fabric], Routing], partners: int, seed: int):
        self._fabric, self._route, self._partners, self._seed = fabric, route, partners, seed
        cables = fabric.cables
        self._ends = np.stack([cables.a, cables.b], axis=1).astype(np.int64)
        wired = cables.kind != CableKind.NVLINK
        forward = fabric.structure.hosts_forward
        self._reach = Reach(np.arange(fabric.gpus), fabric.gpus, fabric.switches, forward, self._ends[wired])
        self._nic_gbps = np.where(cables.kind == CableKind.NIC, cables.gbps, 0.0)
        self._trunk_gbps = np.where(cables.kind == CableKind.SWITCH, cables.gbps, 0.0)
        self._before_s: FloatArray | None = None
        self.switches: dict[str, float] = {}

    def row(self, kind: str, like: str, members: Sequence[Failure], simulated: int) -> FailureRow:
        """Return what the failures of a class do."""
        cut = np.array([self._cut_off(failure) for failure in members])
        nic, trunk = (
            np.array([_share(gbps, failure.cables) for failure in members]) for gbps in (self._nic_gbps, self._trunk_gbps)
        )
        chosen = _drawn(
            len(members), simulated if kind != "two" else len(members) * bool(simulated), self._seed, f"{kind} {like}"
        )
        slower = np.array([self._slower(members[place]) for place in chosen])
        known = np.flatnonzero(np.isfinite(slower))
        if kind == "switch":
            self.switches |= {members[c].name: v if np.isfinite(v) else np.inf for c, v in zip(chosen, slower.tolist())}
        worst = int(known[np.argmax(slower[known])]) if len(known) else None
        return FailureRow(
            kind,
            like,
            len(members),
            len(chosen),
            float(cut.mean()),
            int(cut.max()),
            members[int(np.argmax(cut))].name if cut.max() else "",
            float(nic.mean()),
            float(nic.max()),
            float(trunk.mean()),
            float(trunk.max()),
            float(slower[known].mean()) if len(known) else None,
            None if worst is None else float(slower[worst]),
            "" if worst is None else members[chosen[worst]].name,
        )

    def _cut_off(self, failure: Failure) -> int:
        ends = [self._ends[cable].tolist() for cable in failure.cables]
        for a, z in ends:
            self._reach.unplug(a, z)
        lost = self._reach.lost()
        for a, z in ends:
            self._reach.plug(a, z)
        return lost

    def _slower(self, failure: Failure) -> float:
        if self._before_s is None:
            self._before_s = intact_times_s(self._fabric, self._route, self._partners, self._seed)
        up = np.ones(len(self._fabric.cables), dtype=bool)
        up[list(failure.cables)] = False
        broken = replace(self._fabric, name=f"{self._fabric.name}@{failure.name}", cable_up=up)
        found = degradation(broken, self._route, self._partners, self._seed, before_s=self._before_s)
        return found.slower if found.without_path < found.transfers else np.nan


def _share(gbps: FloatArray, cables: Sequence[int]) -> float:
    whole = float(gbps.sum())
    return float(gbps[list(cables)].sum() / whole) if whole else 0.0


def _drawn(count: int, wanted: int, seed: int, purpose: str) -> list[int]:
    """Return which members of a class are simulated, in order; all where there are no more than wanted."""
    return sorted(stream(seed, f"simulated failures: {purpose}").permutation(count)[:wanted].tolist())


def _check(fabric: Fabric, simulated: int, doubles: int, partners: int) -> None:
    faults = []
    if not fabric.cable_up.all():
        faults.append(Fault(f"fabric {fabric.name}", "something failed", "nothing failed"))
    for name, value, least, most in (
        ("simulated", simulated, 0, MAX_SIMULATED),
        ("doubles", doubles, 0, MAX_DOUBLES),
        ("partners", partners, 1, 1024),
    ):
        if not least <= value <= most:
            faults.append(Fault(name, str(value), f"{least} to {most}"))
    if faults:
        raise InputError(faults)
