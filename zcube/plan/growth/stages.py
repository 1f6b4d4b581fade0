"""Growth in stages: each with links kept, moved, added and removed, a move list, and a bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from zcube.errors import Fault, InputError
from zcube.fabric.cages import checked_places
from zcube.fabric.model import Fabric
from zcube.fabric.optics import OpticsRule, optics_of
from zcube.plan.growth.bill import StageBill, stage_bill
from zcube.plan.growth.move_list import INSTALL, RELABEL, Move, move_list
from zcube.plan.growth.order import nodes_of, ordered_steps
from zcube.plan.growth.pairing import Ends, ends_of, links_kept, paired, renumbered
from zcube.plan.growth.ports import with_kept_ports
from zcube.plan.growth.renaming import NONE, Names, Renaming, best_renamings
from zcube.plan.growth.targets import checked_growth
from zcube.plan.reach import Reach
from zcube.pricing.bill import DEFAULT_RULE
from zcube.pricing.price_book import PriceBook

#: Steps that cut GPUs off named in a document; the move list has all.
NAMED_STEPS = 20


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
    old_links, kept, moved, removed, added : int
        Links before, and what becomes of them: they stay as they are, one plug is moved, or both; and links that are new.
    moves : tuple of Move
        The move list.
    labels : tuple of str
        Labels of the cables after the stage, in the order of the fabric's links.
    bill : StageBill or None
        What is bought; None without a price book.
    """

    start: Fabric
    fabric: Fabric
    names: str
    kept_by_names: dict[str, int]
    most_kept: int
    old_links: int
    kept: int
    moved: int
    removed: int
    added: int
    moves: tuple[Move, ...]
    labels: tuple[str, ...]
    bill: StageBill | None

    @property
    def windows(self) -> tuple[Move, ...]:
        """Steps while which GPUs in service are cut off."""
        return tuple(move for move in self.moves if move.gpus_cut_off)

    def document(self) -> dict[str, Any]:
        """Return the stage as JSON-ready data, the move list left out."""
        windows = self.windows
        return {
            "from": self.start.name,
            "to": self.fabric.name,
            "gpus_before": self.start.gpus,
            "gpus_after": self.fabric.gpus,
            "names": self.names,
            "links_before": self.old_links,
            "links_after": len(self.labels),
            "links_kept": self.kept,
            "links_moved": self.moved,
            "links_removed": self.removed,
            "links_added": self.added,
            "links_kept_by_names": dict(self.kept_by_names),
            "links_kept_at_most": self.most_kept,
            "devices_renamed": sum(move.action == RELABEL for move in self.moves),
            "devices_installed": sum(move.action == INSTALL for move in self.moves),
            "steps": len(self.moves),
            "steps_by_action": dict(sorted(Counter(move.action for move in self.moves).items())),
            "reachable_at_every_step": not windows,
            "steps_that_cut_off": len(windows),
            "most_gpus_cut_off": max((move.gpus_cut_off for move in windows), default=0),
            "steps_that_cut_off_first": [move.step for move in windows[:NAMED_STEPS]],
            "bill": None if self.bill is None else self.bill.document(),
        }


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
    planned, stays, kept = ends_of(target), {}, {}
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
    moves, of_new = move_list(start, fabric, renaming, pairing, steps, labels)
    moved = int((pairing.moved != NONE).sum())
    return Stage(
        start=start,
        fabric=fabric,
        names=names,
        kept_by_names=kept,
        most_kept=most,
        old_links=len(old),
        kept=kept[chosen],
        moved=moved,
        removed=len(old) - kept[chosen] - moved,
        added=len(new) - kept[chosen] - moved,
        moves=moves,
        labels=tuple(of_new),
        bill=None if book is None else stage_bill(start, fabric, book, optics_of(start, optics), optics_of(fabric, optics)),
    )


def _reach(start: Fabric, fabric: Fabric, renaming: Renaming, old: Ends) -> Reach:
    local = np.arange(start.gpus_per_server)
    service = (renaming.server[:, None] * start.gpus_per_server + local).ravel()
    switches = fabric.switches + int((renaming.switch == NONE).sum())
    forward = start.structure.hosts_forward
    return Reach(service, fabric.gpus, switches, forward, nodes_of(old, fabric.gpus, fabric.gpus_per_server))
