"""All that is planned for one fabric, there or chosen: how it grows, its room, who sits where, what failures do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.llm.rankmap import rank_map
from zcube.outputs import to_json
from zcube.plan.failed_serving import FailedServing, served_with_failures, worst_and_median
from zcube.plan.failures import DOUBLES, FALL_BACK, PARTNERS, SIMULATED, FailureReport, failure_report
from zcube.plan.growth.move_list import moves_csv
from zcube.plan.growth.renaming import Names
from zcube.plan.growth.stages import GrowthPlan, growth_plan
from zcube.plan.placement.kv_sample import KvLoad
from zcube.plan.placement.nic_affinity import AffinityMap, nic_affinity
from zcube.plan.placement.placing import TRIALS, PlacementReport, placement_report
from zcube.plan.rewiring.rewired import Rewired, WiringTask, rewire
from zcube.plan.room.room import RoomPlan, room_plan
from zcube.pricing.price_book import PriceBook
from zcube.progress import Progress, silent
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routing
from zcube.scenario import Scenario


@dataclass(frozen=True, eq=False)
class FabricPlan:
    """What was planned for a fabric; None for what was not asked for.

    Attributes
    ----------
    fabric : Fabric
        What stands.
    growth : GrowthPlan or None
        Its stages.
    rewired : Rewired or None
        A better wiring for a traffic; rooms, placement and failures are then those of the fabric with it.
    rooms : tuple of RoomPlan
        Of the fabric, or of every stage where it grows; empty without a room.
    placement, affinity : PlacementReport or None, AffinityMap or None
        Of the fabric, or of the last stage.
    failures : FailureReport or None
        Likewise.
    serving : FailedServing or None
        What the worst and the median failure of a switch do to a scenario.
    seed : int
        Of all that is drawn.
    """

    fabric: Fabric
    growth: GrowthPlan | None
    rewired: Rewired | None
    rooms: tuple[RoomPlan, ...]
    placement: PlacementReport | None
    affinity: AffinityMap | None
    failures: FailureReport | None
    serving: FailedServing | None
    seed: int

    def document(self) -> dict[str, Any]:
        """Return everything but the tables of :meth:`texts` as JSON-ready data."""
        return {
            "fabric": self.fabric.name,
            "seed": self.seed,
            "growth": None if self.growth is None else self.growth.document(),
            "wiring": None if self.rewired is None else self.rewired.document(),
            "rooms": [room.document() for room in self.rooms],
            "placement": None if self.placement is None else self.placement.document(),
            "failures": None if self.failures is None else self.failures.document(),
            "failures_on_scenario": None if self.serving is None else self.serving.document(),
        }

    def texts(self) -> dict[str, str]:
        """Return every file by its name: move lists, the rooms' tables, the NIC-affinity map, the failures."""
        return dict(self._texts())

    def _texts(self) -> Iterator[tuple[str, str]]:
        yield "plan.json", to_json(self.document())
        if self.rewired is not None:
            yield from self.rewired.texts().items()
        for number, stage in enumerate(self.growth.stages if self.growth else (), 1):
            yield f"stage-{number}-moves.csv", moves_csv(stage.moves)
            yield f"stage-{number}-moves.json", to_json([move._asdict() for move in stage.moves])
        for number, room in enumerate(self.rooms, 1):
            before = f"stage-{number}-" if self.growth else ""
            yield from ((before + name, text) for name, text in room.texts().items())
        if self.affinity is not None:
            yield "nic-affinity.json", to_json(self.affinity.document())
        if self.failures is not None:
            yield "failures.csv", str(self.failures.table().to_csv(index=False, lineterminator="\n"))


def fabric_plan(
    fabric: Fabric,
    *,
    targets: Sequence[Fabric] = (),
    names: Names = "all",
    book: PriceBook | None = None,
    wiring: WiringTask | None = None,
    room: RackLayout | None = None,
    load: KvLoad | None = None,
    trials: int = TRIALS,
    failures: bool = False,
    scenario: Scenario | None = None,
    reference: str | None = None,
    simulated: int = SIMULATED,
    doubles: int = DOUBLES,
    partners: int = PARTNERS,
    nic_names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FabricPlan:
    """Plan one fabric.

    Parameters
    ----------
    fabric : Fabric
        What stands, or is chosen.
    targets : sequence of Fabric
        What it grows into, one after the other.
    names : {"all", "switches", "planned"}
        Which devices may become another in growth, see :func:`~zcube.plan.growth.stages.growth_plan`.
    book : PriceBook, optional
        Prices of the stages.
    wiring : WiringTask, optional
        What a better wiring is looked for; not together with targets.
    room : RackLayout, optional
        Machine room.
    load : KvLoad, optional
        Prefill and decode nodes to seat.
    trials : int
        Placements that the search tries.
    failures : bool
        Whether to judge failures.
    scenario : Scenario, optional
        With ``failures``: what the worst and the median failure of a switch are simulated on.
    reference : str, optional
        Topology that ``fabric`` was built from, which ``scenario`` needs.
    simulated, doubles, partners : int
        As of :func:`~zcube.plan.failures.failure_report`.
    nic_names : sequence of str, optional
        The engine's names of NIC ports.
    seed : int
        Of all that is drawn.
    progress : Progress, optional
        Told what is under way.

    Raises
    ------
    InputError
        With the faults of every part.
    """
    faults = FaultList()
    growth, rewired, rooms, placement, affinity, report, serving = None, None, [], None, None, None, None
    with faults:
        _check_scenario(scenario, reference, failures, targets)
    if wiring is not None:
        if targets or scenario is not None:
            found = "stages of growth beside it" if targets else "a scenario beside it"
            raise InputError([*faults.faults, Fault("--wire", found, "one of them; rewired.toml can be planned afterwards")])
        rewired = rewire(fabric, wiring, seed, progress)
        fabric = rewired.rewired
    with faults:
        if targets:
            progress("planning growth", 0, 0, "")
            growth = growth_plan(fabric, targets, names=names, book=book)
    built = [(stage.fabric, stage.labels) for stage in growth.stages] if growth else [(fabric, None)]
    last = built[-1][0]
    for one, labels in built if room is not None else ():
        with faults:
            progress(f"furnishing the room of {one.name}", 0, 0, "")
            rooms.append(room_plan(one, room or RackLayout(), labels=labels))
    with faults:
        if load is not None:
            placement = placement_report(last, _plain(seed), load, trials=trials, seed=seed, progress=progress)
            progress("deriving the NIC-affinity map", 0, 0, "")
            size = last.gpus_per_server
            ranks = rank_map(load.rank_map, prefill_gpus=size, decode_gpus=size)
            affinity = nic_affinity(last, _plain(seed)(last), placement.best.placed, ranks, nic_names)
    with faults:
        if failures:
            report = failure_report(
                last, _relaying(seed), simulated=simulated, doubles=doubles, partners=partners, seed=seed, progress=progress
            )
            if scenario is not None and reference is not None and not faults.faults:
                serving = served_with_failures(reference, worst_and_median(report.switches), scenario, progress)
    faults.check()
    return FabricPlan(fabric, growth, rewired, tuple(rooms), placement, affinity, report, serving, seed)


def _check_scenario(scenario: Scenario | None, reference: str | None, failures: bool, targets: Sequence[Fabric]) -> None:
    if scenario is None:
        return
    for wrong, found in (
        (not failures, "no failures asked for"),
        (bool(targets), "a fabric that grows"),
        (reference is None, "a fabric in memory"),
    ):
        if wrong:
            raise InputError(Fault("scenario", found, "failures of a topology by its name or file, as it stands"))


def _plain(seed: int) -> Callable[[Fabric], Routing]:
    return lambda fabric: routing_for(fabric, seed=seed)


def _relaying(seed: int) -> Callable[[Fabric], Routing]:
    return lambda fabric: routing_for(fabric, seed=seed, fall_back=FALL_BACK)
