"""Growth in stages: each with links kept, moved, added and removed, a move list, and a bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, get_args

import numpy as np

from zcube.errors import Fault, InputError
from zcube.fabric.cages import checked_places
from zcube.fabric.model import Fabric
from zcube.fabric.optics import OpticsRule, optics_of
from zcube.plan.growth.bill import StageBill, stage_bill
from zcube.plan.growth.move_list import INSTALL, RELABEL, RETIRE, DeviceRows, Move, device_rows, move_list, new_labels
from zcube.plan.growth.order import CableStep, nodes_of, ordered_steps
from zcube.plan.growth.pairing import Ends, Pairing, ends_of, links_kept, paired, renumbered
from zcube.plan.growth.ports import with_kept_ports
from zcube.plan.growth.renaming import NONE, Names, Renaming, best_renamings
from zcube.plan.growth.targets import checked_growth
from zcube.plan.reach import Reach
from zcube.pricing.bill import DEFAULT_RULE
from zcube.pricing.price_book import PriceBook

#: Steps that cut GPUs off named in a document; the move list has all.
NAMED_STEPS = 20


class Window(NamedTuple):
    """A step while which GPUs in service are cut off: its number in the move list, what is done, and how many."""

    step: int
    action: str
    gpus_cut_off: int


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of growth.

    Attributes
    ----------
    start, fabric : Fabric
        Before and after, the latter with ports as the move list leaves them.
    names : str
        Which devices could change names.
    kept_by_names : mapping
        Links that stay, by which devices may change names: what the search gained.
    most_kept : int
        Bound on the links that any renaming could keep.
    renaming, pairing : Renaming, Pairing
        What becomes of devices and links.
    steps : tuple of CableStep
        What is done with cables, in order.
    old_labels : sequence of str
        Labels of the cables that stand, in the order of the links.
    bill : StageBill or None
        What is bought; None without a price book.
    """

    start: Fabric
    fabric: Fabric
    names: str
    kept_by_names: dict[str, int]
    most_kept: int
    renaming: Renaming
    pairing: Pairing
    steps: tuple[CableStep, ...]
    old_labels: Sequence[str]
    bill: StageBill | None

    @property
    def old_links(self) -> int:
        """Links before."""
        return len(self.old_labels)

    @property
    def links(self) -> int:
        """Links after."""
        return len(self.pairing.kept)

    @property
    def kept(self) -> int:
        """Links that stay as they are."""
        return int((self.pairing.kept != NONE).sum())

    @property
    def moved(self) -> int:
        """Links of which one plug is moved."""
        return int((self.pairing.moved != NONE).sum())

    @property
    def removed(self) -> int:
        """Links of which both plugs are."""
        return self.old_links - self.kept - self.moved

    @property
    def added(self) -> int:
        """Links that are new."""
        return self.links - self.kept - self.moved

    @cached_property
    def _devices(self) -> DeviceRows:
        return device_rows(self.start, self.fabric, self.renaming)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of the cables after the stage, in the order of the fabric's links."""
        return tuple(new_labels(self.pairing, self.old_labels))

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """The move list."""
        return move_list(self.start, self.fabric, self._devices, self.pairing, self.steps, self.old_labels, self.labels)

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Steps while which GPUs in service are cut off."""
        first = 1 + len(self._devices.renamed) + len(self._devices.installed)
        return tuple(Window(number, step.action, step.lost) for number, step in enumerate(self.steps, first) if step.lost)

    def document(self) -> dict[str, Any]:
        """Return the stage as JSON-ready data, the move list left out."""
        windows, devices = self.windows, self._devices
        actions = Counter(step.action.value for step in self.steps)
        actions += Counter({RELABEL: len(devices.renamed), INSTALL: len(devices.installed), RETIRE: len(devices.retired)})
        return {
            **_ends(self),
            "names": self.names,
            "links_kept": self.kept,
            "links_moved": self.moved,
            "links_removed": self.removed,
            "links_added": self.added,
            "links_kept_by_names": dict(self.kept_by_names),
            "links_kept_at_most": self.most_kept,
            "devices_renamed": len(devices.renamed),
            "devices_installed": len(devices.installed),
            "steps": actions.total(),
            "steps_by_action": dict(sorted(actions.items())),
            "reachable_at_every_step": not windows,
            "steps_that_cut_off": len(windows),
            "most_gpus_cut_off": max((move.gpus_cut_off for move in windows), default=0),
            "steps_that_cut_off_first": [move.step for move in windows[:NAMED_STEPS]],
            "bill": None if self.bill is None else self.bill.document(),
        }


@dataclass(frozen=True, eq=False)
class BilledStage:
    """A stage of so many links that its moves are not worked out: what is bought is all that is known.

    Attributes
    ----------
    start, fabric : Fabric
        Before and after, as their family builds them.
    bill : StageBill
        What is bought.
    """

    start: Fabric
    fabric: Fabric
    bill: StageBill

    @property
    def old_links(self) -> int:
        """Links before."""
        return _links(self.start)

    @property
    def links(self) -> int:
        """Links after."""
        return _links(self.fabric)

    def document(self) -> dict[str, Any]:
        """Return the stage as JSON-ready data; what the moves would say is null."""
        return {**_ends(self), **dict.fromkeys(_BY_MOVES), "bill": self.bill.document()}


#: What is known of a stage only by its moves.
_BY_MOVES = (
    *(f"links_{fate}" for fate in ("kept", "moved", "removed", "added")),
    "devices_renamed", "devices_installed", "steps", "reachable_at_every_step", "steps_that_cut_off", "most_gpus_cut_off",
)  # fmt: skip


def _ends(stage: Stage | BilledStage) -> dict[str, Any]:
    return {
        "from": stage.start.name,
        "to": stage.fabric.name,
        "gpus_before": stage.start.gpus,
        "gpus_after": stage.fabric.gpus,
        "links_before": stage.old_links,
        "links_after": stage.links,
    }


def _links(fabric: Fabric) -> int:
    return len(fabric.cables) - fabric.gpus


@dataclass(frozen=True, eq=False)
class GrowthPlan:
    """Stages in order, each from where the one before ends."""

    stages: tuple[Stage, ...]

    def document(self) -> dict[str, Any]:
        """Return the stages as JSON-ready data."""
        return {"stages": [stage.document() for stage in self.stages]}


def growth_plan(
    start: Fabric,
    targets: Sequence[Fabric],
    *,
    names: Names = "all",
    book: PriceBook | None = None,
    optics: OpticsRule = DEFAULT_RULE,
    told: Callable[[str], None] = lambda phase: None,
) -> GrowthPlan:
    """Return how a fabric grows into others, one after the other.

    Parameters
    ----------
    start : Fabric
        What stands.
    targets : sequence of Fabric
        What it becomes; each of at least as many GPUs as the one before, of any family.
    names : {"all", "switches", "planned"}
        Which devices that stand may become another of the larger fabric: servers and switches, switches, or none; under
        ``planned`` ports are those of the target's own cable schedule.
    book : PriceBook, optional
        Prices of what is bought.
    optics : {"all-optical", "paper", "by-length"}
        Rule of modules and cables on the bill.
    told : callable, optional
        Told what is under way.

    Raises
    ------
    InputError
        If servers differ in size, GPUs would be fewer, or a fabric cannot be cabled; with every such fault.
    """
    if names not in get_args(Names):
        raise InputError(Fault("names", repr(names), "one of " + ", ".join(get_args(Names))))
    checked_growth(start, targets)
    stages: list[Stage] = []
    labels: Sequence[str] = [f"C{cable:06d}" for cable in checked_places(start).cable.tolist()]
    for target in targets:
        told(f"growing {start.name} to {target.name}")
        stage = _stage(start, target, names, labels, book, optics)
        stages.append(stage)
        start, labels = stage.fabric, stage.labels
    return GrowthPlan(tuple(stages))


def _stage(
    start: Fabric, target: Fabric, names: Names, labels: Sequence[str], book: PriceBook | None, optics: OpticsRule
) -> Stage:
    renamings, most = best_renamings(start, target)
    planned, stays = ends_of(target), {}
    kept: dict[str, int] = {}
    for name, one in renamings.items():
        stays[name] = links_kept(ends_of(start, renumbered(start, target, one)), planned, exact=name == "planned")
        kept[name] = int((stays[name] != NONE).sum())
    # What may change fewer names is a choice of what may change more; of equals the one that changes least.
    allowed = [name for name in get_args(Names)][: get_args(Names).index(names) + 1]
    chosen = max(allowed, key=lambda name: (kept[name], int((renamings[name].switch != NONE).sum())))
    renaming = renamings[chosen]
    old = ends_of(start, renumbered(start, target, renaming))
    pairing = paired(old, planned, stays[chosen], exact=chosen == "planned")
    fabric = target if chosen == "planned" else with_kept_ports(target, old, planned, pairing)
    checked_places(fabric)
    new = ends_of(fabric)
    steps = ordered_steps(old, new, pairing, _reach(start, fabric, renaming, old), fabric.gpus, fabric.gpus_per_server)
    return Stage(
        start=start,
        fabric=fabric,
        names=names,
        kept_by_names=dict(zip(kept, accumulate(kept.values(), max), strict=True)),
        most_kept=most,
        renaming=renaming,
        pairing=pairing,
        steps=tuple(steps),
        old_labels=labels,
        bill=None if book is None else _bill(start, fabric, book, optics),
    )


def billed_stage(start: Fabric, target: Fabric, book: PriceBook, optics: OpticsRule = DEFAULT_RULE) -> BilledStage:
    """Return what it costs that a fabric becomes another; parameters and faults as of :func:`growth_plan`."""
    checked_growth(start, [target])
    checked_places(target)
    return BilledStage(start, target, _bill(start, target, book, optics))


def _bill(start: Fabric, target: Fabric, book: PriceBook, optics: OpticsRule) -> StageBill:
    return stage_bill(start, target, book, optics_of(start, optics), optics_of(target, optics))


def _reach(start: Fabric, fabric: Fabric, renaming: Renaming, old: Ends) -> Reach:
    local = np.arange(start.gpus_per_server)
    service = (renaming.server[:, None] * start.gpus_per_server + local).ravel()
    switches = fabric.switches + int((renaming.switch == NONE).sum())
    forward = start.structure.hosts_forward
    return Reach(service, fabric.gpus, switches, forward, nodes_of(old, fabric.gpus, fabric.gpus_per_server))
