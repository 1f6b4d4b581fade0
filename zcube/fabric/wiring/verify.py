"""Comparing the wiring found in the field with the plan, and the shortest correction.

Plan and found wiring are matchings of ports. Ports, with the planned cables and the found cables that differ, fall apart into
chains and closed rings in which planned and found cables alternate. Each is one discrepancy:

* a ring of k planned and k found cables: **k swapped cables**, whose ends are exchanged among each other. Two cables with
  exchanged far ends are the ring of k = 2. Corrected by **k - 1 swaps** (exchanging two plugs);
* a chain: every found cable in it has one end in the wrong port: **miswired**, one plug moved each. If the chain has a
  planned cable more than found ones, one cable is **missing**; if a found one more, that one is **extra**. A chain of a single
  cable is a missing or an extra cable and nothing else.

No correction with fewer steps exists where a step exchanges two plugs, moves one plug to a free port, adds a cable or removes
one: a step brings the number of rings and chains at most one nearer to that of a right wiring (the double-cut-and-join distance
known from the comparison of genomes, Yancopoulos, Attie and Friedberg 2005).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from zcube.fabric.wiring.cabling import NameRule, Port, WiredCable, Wiring

_DEFAULT_RULE = NameRule()


class Action(StrEnum):
    """What is done in one step of a correction."""

    SWAP = "swap"
    MOVE = "move"
    ADD = "add"
    REMOVE = "remove"


class Step(NamedTuple):
    """Swap the plugs in ``a`` and ``z``, move the plug in ``a`` to the free port ``z``, or add or remove a cable ``a -- z``."""

    action: Action
    a: Port
    z: Port

    def __str__(self) -> str:
        return {
            Action.SWAP: f"swap the plugs in {self.a} and {self.z}",
            Action.MOVE: f"move the plug in {self.a} to {self.z}",
            Action.ADD: f"add a cable {self.a} -- {self.z}",
            Action.REMOVE: f"remove the cable {self.a} -- {self.z}",
        }[self.action]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Cables that are wrong together, and what corrects them.

    Attributes
    ----------
    swapped, miswired, extra : tuple of WiredCable
        Found cables, by what is wrong with them.
    missing : tuple of WiredCable
        Planned cables for which there is none to use.
    correction : tuple of Step
        To be done in this order.
    """

    swapped: tuple[WiredCable, ...] = ()
    miswired: tuple[WiredCable, ...] = ()
    extra: tuple[WiredCable, ...] = ()
    missing: tuple[WiredCable, ...] = ()
    correction: tuple[Step, ...] = ()


@dataclass(frozen=True)
class WiringReport:
    """What differs between a plan and a wiring found.

    Attributes
    ----------
    planned, found, correct : int
        Cables planned, found, and found as planned.
    discrepancies : tuple of Discrepancy
        Independent of each other.
    """

    planned: int
    found: int
    correct: int
    discrepancies: tuple[Discrepancy, ...]

    @property
    def agrees(self) -> bool:
        """Whether the found wiring is the plan."""
        return not self.discrepancies

    def cables(self, kind: str) -> tuple[WiredCable, ...]:
        """Return all ``"swapped"``, ``"miswired"``, ``"extra"`` or ``"missing"`` cables."""
        return tuple(cable for one in self.discrepancies for cable in getattr(one, kind))

    @property
    def correction(self) -> tuple[Step, ...]:
        """Every step, discrepancy by discrepancy."""
        return tuple(step for one in self.discrepancies for step in one.correction)

    @property
    def plugs_moved(self) -> int:
        """Plugs that end up in another port by swaps and moves: one per swapped and per miswired cable."""
        return len(self.cables("swapped")) + len(self.cables("miswired"))

    def document(self) -> dict[str, Any]:
        """Return the report as JSON-ready data; counts of cables and of steps stand apart."""
        kinds = ("swapped", "miswired", "missing", "extra")
        steps = Counter(step.action for step in self.correction)
        return {
            "planned_cables": self.planned,
            "found_cables": self.found,
            "correct_cables": self.correct,
            **{f"{kind}_cables": len(self.cables(kind)) for kind in kinds},
            "correction_steps": sum(steps.values()),
            "correction_swaps": steps[Action.SWAP],
            "correction_moves": steps[Action.MOVE],
            "cables_to_add": steps[Action.ADD],
            "cables_to_remove": steps[Action.REMOVE],
            "plugs_moved": self.plugs_moved,
            "discrepancies": [
                {
                    **{kind: [str(cable) for cable in getattr(one, kind)] for kind in kinds},
                    "correction": [str(step) for step in one.correction],
                }
                for one in self.discrepancies
            ],
        }


def verify(plan: Wiring, found: Wiring, rule: NameRule = _DEFAULT_RULE) -> WiringReport:
    """Compare a found wiring with the plan.

    Parameters
    ----------
    plan, found : Wiring
        Each cable may be listed once or from both ends.
    rule : NameRule
        Which differences between names do not matter; the report spells names as the plan does.

    Returns
    -------
    WiringReport
        Every swapped, miswired, missing and extra cable and a correction with the fewest steps.

    Raises
    ------
    InputError
        If a port is in two cables of one wiring, names made equal by ``rule``.
    """
    spelling = {rule.key(port): port for wiring in (found, plan) for cable in wiring.cables for port in cable}
    wanted, present = plan.partners(rule), found.partners(rule)
    correct = sum(present.get(port) == far for port, far in wanted.items()) // 2
    discrepancies = [_judge(chain, starts_planned, ring, spelling) for chain, starts_planned, ring in _chains(wanted, present)]
    return WiringReport(len(wanted) // 2, len(present) // 2, correct, tuple(discrepancies))


def apply_correction(found: Wiring, steps: Sequence[Step], rule: NameRule = _DEFAULT_RULE) -> Wiring:
    """Return the wiring after a correction, or after the first steps of one.

    Parameters
    ----------
    found : Wiring
        What the steps start from.
    steps : sequence of Step
        In the order in which they are done.
    rule : NameRule
        Which differences between names do not matter; ports are spelled as found, those not found as in the steps.

    Returns
    -------
    Wiring
        Cables once each, in order of their ports.

    Raises
    ------
    ValueError
        If a step cannot be done: no plug where one is moved from, or none free where one goes.
    """
    far = found.partners(rule)
    ports = [*(port for step in steps for port in (step.a, step.z)), *(port for cable in found.cables for port in cable)]
    spelling = {rule.key(port): port for port in ports}

    def join(a: Port, z: Port) -> None:
        far[a], far[z] = z, a

    for step in steps:
        a, z = rule.key(step.a), rule.key(step.z)
        possible = {
            Action.SWAP: a in far and z in far and far[a] != z,
            Action.MOVE: a in far and z not in far,
            Action.ADD: a not in far and z not in far and a != z,
            Action.REMOVE: far.get(a) == z,
        }[step.action]
        if not possible:
            raise ValueError(f"cannot {step}")
        if step.action is Action.SWAP:
            a_far, z_far = far[a], far[z]
            join(z, a_far)
            join(a, z_far)
        elif step.action is Action.MOVE:
            join(z, far.pop(a))
        elif step.action is Action.ADD:
            join(a, z)
        else:
            del far[a], far[z]
    cables = sorted(WiredCable(spelling[a], spelling[z]) for a, z in far.items() if a < z)
    return Wiring(f"{found.source}, corrected", tuple(cables), tuple(range(1, len(cables) + 1)))


def _chains(wanted: dict[Port, Port], present: dict[Port, Port]) -> Iterable[tuple[list[Port], bool, bool]]:
    """Yield the ports of each discrepancy in order, whether its first cable is a planned one, and whether it is a ring.

    A chain with as many planned as found cables begins with a planned one; else the lesser port begins.
    """
    wrong = sorted(port for port in wanted.keys() | present.keys() if wanted.get(port) != present.get(port))
    seen: set[Port] = set()

    def walk(port: Port, planned: bool) -> list[Port]:
        chain = [port]
        while (step := (wanted if planned else present).get(chain[-1])) is not None and step not in seen:
            seen.add(step)
            chain.append(step)
            planned = not planned
        return chain

    ends = [port for port in wrong if port not in wanted or port not in present]
    for port in sorted(ends, key=lambda port: (port not in wanted, port)):
        if port not in seen:
            seen.add(port)
            yield walk(port, port in wanted), port in wanted, False
    for port in wrong:
        if port not in seen:
            seen.add(port)
            yield walk(port, True), True, True


def _judge(chain: list[Port], starts_planned: bool, ring: bool, spelling: dict[Port, Port]) -> Discrepancy:
    x = [spelling[port] for port in chain]
    # Every second port receives the plug two ports further along: that is where the plan wants it.
    if ring:
        moved = [*x[2::2], x[0]]
        kept = x[1::2]
        swaps = tuple(Step(Action.SWAP, to, at) for to, at in pairwise(moved))
        return Discrepancy(swapped=tuple(map(WiredCable, kept, moved)), correction=swaps)
    if starts_planned:
        moves = tuple(Step(Action.MOVE, at, to) for to, at in zip(x[0::2], x[2::2]))
        wrong = tuple(map(WiredCable, x[1::2], x[2::2]))
        if len(x) % 2:
            return Discrepancy(miswired=wrong, correction=moves)
        lacking = WiredCable(x[-2], x[-1])
        return Discrepancy(miswired=wrong, missing=(lacking,), correction=(*moves, Step(Action.ADD, *lacking)))
    surplus = WiredCable(x[-2], x[-1])
    # The last cable makes room for the one before it, and so on back to the first.
    moves = tuple(Step(Action.MOVE, at, to) for at, to in reversed([*zip(x[0:-2:2], x[2::2])]))
    wrong = tuple(map(WiredCable, x[0:-2:2], x[1:-2:2]))
    return Discrepancy(miswired=wrong, extra=(surplus,), correction=(Step(Action.REMOVE, *surplus), *moves))
