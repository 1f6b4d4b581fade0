"""The transfers of one collective, by algorithm, between positions in its group.

Every algorithm is known by its bytes: with ``n`` ranks and ``S`` bytes put in by each rank (see
:class:`~zcube.trace.comm_trace.CommTrace`), a rank sends

===============  ==========================================================================================
``ring``         all-reduce ``2 (n-1) S / n`` in ``2 (n-1)`` steps; reduce-scatter ``(n-1) S / n`` and all-gather
                 ``(n-1) S`` in ``n-1``; broadcast and reduce are a chain that passes ``n`` parts on, ``2 (n-1)`` steps
``tree``         all-reduce, reduce, broadcast over one binary tree in group order: ``S`` to the parent, ``S`` to each
                 child; at most ``2 floor(log2 n)`` steps. NCCL runs two such trees over nodes and chains inside them
``one-shot``     all-reduce: ``S`` to every other rank, one step
``two-shot``     all-reduce: ``S / n`` to every other rank twice, two steps
``direct``       every part straight to the rank that needs it, all at once
``pairwise``     all-to-all: ``S / n`` to every other rank, one after another, beginning with the next in the group
``pipelined``    the parts of ``ring`` all at once, as NCCL cuts a buffer into so many slices that every hop is busy from
                 the first to the last; all ranks are done when all parts have arrived
===============  ==========================================================================================

Where ``n`` does not divide ``S``, the first parts are one byte longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.trace.comm_trace import NONE

#: Algorithms of every collective.
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "all-reduce": ("ring", "tree", "one-shot", "two-shot", "pipelined"),
    "all-gather": ("ring", "direct", "pipelined"),
    "reduce-scatter": ("ring", "direct", "pipelined"),
    "all-to-all": ("pairwise", "direct"),
    "broadcast": ("ring", "tree", "direct", "pipelined"),
    "reduce": ("ring", "tree", "direct", "pipelined"),
    "gather": ("direct",),
    "scatter": ("direct",),
    "send-receive": ("direct",),
    "barrier": ("direct",),
}
#: Collectives that have a root; without one it is the first rank of the group.
ROOTED = ("broadcast", "reduce", "gather", "scatter")
#: Algorithms whose parts go around rings.
RINGS = ("ring", "pipelined")
#: Algorithm of a collective that puts in no bytes: nothing is sent and nobody waits for another.
IDLE = "idle"


def collective_of(name: str) -> str | None:
    """Return the collective that an operation's name ends with (``attention-all-reduce``: ``all-reduce``), None if none."""
    return next((known for known in ALGORITHMS if name == known or name.endswith(f"-{known}")), None)


@dataclass(frozen=True, eq=False)
class Steps:
    """Transfers between positions in a group, each after all it waits for.

    Attributes
    ----------
    positions : int
        Ranks of the group.
    parts : int
        Into how many parts the bytes are cut.
    sender, receiver : int array [steps]
        Positions; a step without receiver (-1) sends nothing, it only gathers what it waits for.
    part : int array [steps]
        Which part goes.
    waiting, awaited : int array [dependencies]
        Step ``waiting`` waits for step ``awaited``, which comes earlier; in order of ``waiting``.
    """

    positions: int
    parts: int
    sender: IntArray
    receiver: IntArray
    part: IntArray
    waiting: IntArray
    awaited: IntArray

    def __len__(self) -> int:
        return len(self.sender)

    def framed(self) -> Steps:
        """Return the steps between a start (first ``positions`` steps) and an end (last ``positions``) of every position.

        What a position sends waits for its start; its end waits for all that it sends and receives.
        """
        count, places = len(self), np.arange(self.positions)
        step = np.arange(count)
        # A send that waits for an earlier send of the same position needs no start of its own.
        covered = np.zeros(count, dtype=bool)
        covered[self.waiting[self.sender[self.waiting] == self.sender[self.awaited]]] = True
        begun = np.flatnonzero(~covered)
        last = {"sender": np.ones(count, dtype=bool), "receiver": self.receiver >= 0}
        ends = {"sender": self.sender, "receiver": self.receiver}
        for name, position in ends.items():
            # What a later step of the same position waits for has ended before that step.
            mine = position[self.awaited]
            again = (self.sender[self.waiting] == mine) | (self.receiver[self.waiting] == mine)
            last[name][self.awaited[again & (mine >= 0)]] = False
        finishing = np.concatenate([ends[name][last[name]] for name in ends])
        final = np.concatenate([step[last[name]] for name in ends])
        silent = np.setdiff1d(places, self.sender)
        first, end = self.positions, self.positions + count
        waiting = np.concatenate([self.waiting + first, begun + first, finishing + end, silent + end])
        awaited = np.concatenate([self.awaited + first, self.sender[begun], final + first, silent])
        order = np.lexsort((awaited, waiting))
        none = np.full(self.positions, NONE)
        return Steps(
            self.positions,
            self.parts,
            np.concatenate([places, self.sender, places]),
            np.concatenate([none, self.receiver, none]),
            np.concatenate([none, self.part, none]),
            waiting[order],
            awaited[order],
        )


def collective_steps(name: str, algorithm: str, positions: int, root: int, rings: Sequence[IntArray]) -> Steps:
    """Return the steps of a collective.

    Parameters
    ----------
    name, algorithm : str
        One of :data:`ALGORITHMS`, or the algorithm :data:`IDLE`.
    positions : int
        Ranks of the group.
    root : int
        Position of the root; -1 for none, which is position 0 for :data:`ROOTED` collectives.
    rings : sequence of int arrays [positions]
        Orders in which rings visit the positions; each ring carries an equal part of the bytes.
    """
    if algorithm == IDLE or positions == 1:
        return _steps(positions, 1, [])
    first = max(root, 0)
    if name == "barrier":
        return _barrier(positions)
    if name == "send-receive":
        return _send_receive(positions, root)
    if algorithm == "ring":
        if name in ("broadcast", "reduce"):
            return _chain(rings[0], first, name == "reduce")
        return _rings(name, positions, rings)
    if algorithm == "pipelined":
        if name in ("broadcast", "reduce"):
            return _at_once(_side_by_side([_chain(ring, first, name == "reduce") for ring in rings]))
        return _at_once(collective_steps(name, "ring", positions, root, rings))
    if algorithm == "tree":
        return _tree(positions, first, up=name != "broadcast", down=name != "reduce")
    if algorithm == "two-shot":
        return _two_shot(positions)
    if algorithm == "pairwise":
        return _pairwise(positions)
    if name in ROOTED:
        return _star(name, positions, first)
    return _direct(name, positions)


def most_steps(name: str, algorithm: str, positions: int, rings: int) -> int:
    """Return a bound on the steps, start and end included, so that what is too large is refused before it is built."""
    linear = algorithm in ("tree", IDLE) or name in ("gather", "scatter", "barrier", "send-receive")
    if linear or (algorithm == "direct" and name in ROOTED):
        return 5 * positions
    return 2 * positions * positions * (rings if algorithm in RINGS else 1) + 4 * positions


def _steps(
    positions: int, parts: int, rows: Sequence[tuple[IntArray, IntArray, IntArray]], *waits: tuple[IntArray, IntArray]
) -> Steps:
    """Return steps from blocks of (sender, receiver, part) and of (waiting, awaited)."""
    none = np.zeros(0, dtype=np.int64)
    sender, receiver, part = (np.concatenate([none, *(block[place] for block in rows)]) for place in range(3))
    waiting, awaited = (np.concatenate([none, *(wait[place].ravel() for wait in waits)]) for place in range(2))
    order = np.lexsort((awaited, waiting))
    return Steps(positions, parts, sender, receiver, part, waiting[order], awaited[order])


def _rings(name: str, positions: int, rings: Sequence[IntArray]) -> Steps:
    """Pass parts on around every ring; in each step every position sends what it received in the step before."""
    rounds = 2 * (positions - 1) if name == "all-reduce" else positions - 1
    step, place = (grid.ravel() for grid in np.divmod(np.arange(rounds * positions), positions))
    offset = 0 if name == "all-gather" else 1
    rows, waits = [], []
    for channel, order in enumerate(rings):
        if name == "all-gather":
            part = np.full(len(step), channel)
        else:
            part = channel * positions + order[(place - step - offset) % positions]
        rows.append((order[place], order[(place + 1) % positions], part))
        number = channel * len(step) + np.arange(positions, len(step))
        before = number - positions
        received = before - place[positions:] + (place[positions:] - 1) % positions
        waits += [(number, before), (number, received)]
    return _steps(positions, len(rings) * (1 if name == "all-gather" else positions), rows, *waits)


def _at_once(steps: Steps) -> Steps:
    """Send all parts without waiting for each other; behind them every position waits until all have arrived."""
    sent, places = np.arange(len(steps)), np.arange(steps.positions)
    none, hub = np.full(steps.positions, NONE), np.array([len(steps)])
    rows = [
        (steps.sender, steps.receiver, steps.part),
        (np.zeros(1, dtype=np.int64), none[:1], none[:1]),
        (places, none, none),
    ]
    arrived, told = (np.full(len(sent), hub), sent), (len(sent) + 1 + places, np.full(steps.positions, hub))
    return _steps(steps.positions, steps.parts, rows, arrived, told)


def _chain(ring: IntArray, root: int, reverse: bool) -> Steps:
    """Pass the buffer in parts along the ring from the root, or towards it."""
    positions = len(ring)
    order = np.roll(ring, -int(np.flatnonzero(ring == root)[0]))
    if reverse:
        order = order[::-1]
    hops = positions - 1
    part, hop = np.divmod(np.arange(positions * hops), hops)
    number = np.arange(len(part))
    onward, later = number[hop > 0], number[part > 0]
    row = (order[hop], order[hop + 1], part)
    return _steps(positions, positions, [row], (onward, onward - 1), (later, later - hops))


def _side_by_side(channels: Sequence[Steps]) -> Steps:
    """Return steps of channels that each carry an equal part of the bytes and do not wait for each other."""
    rows = [(one.sender, one.receiver, one.part + number * one.parts) for number, one in enumerate(channels)]
    return _steps(channels[0].positions, sum(one.parts for one in channels), rows)


def _tree(positions: int, root: int, up: bool, down: bool) -> Steps:
    """Send up to, then down from, the root of a binary tree; position ``i`` has the children ``2 i + 1`` and ``2 i + 2``."""
    child = np.arange(1, positions)
    parent = (child - 1) // 2
    place = (np.arange(positions) + root) % positions
    rows, waits = [], []
    rising = positions - 1 - child
    if up:
        rows.append((place[child[::-1]], place[parent[::-1]], np.zeros_like(child)))
        inner = parent > 0
        waits.append((rising[parent[inner] - 1], rising[inner]))
    if down:
        base = positions - 1 if up else 0
        rows.append((place[parent], place[child], np.zeros_like(child)))
        inner = parent > 0
        waits.append((base + child[inner] - 1, base + parent[inner] - 1))
        if up:
            top, below = child[parent == 0], child[parent == 0]
            waits.append((np.repeat(base + top - 1, len(below)), np.tile(rising[below - 1], len(top))))
    return _steps(positions, 1, rows, *waits)


def _pairs(positions: int) -> tuple[IntArray, IntArray]:
    """Return every ordered pair of positions, round by round: each to its next, each to the one after that, and so on."""
    distance, sender = np.divmod(np.arange(positions, positions * positions), positions)
    return sender, (sender + distance) % positions


def _direct(name: str, positions: int) -> Steps:
    """Send everything at once."""
    sender, receiver = _pairs(positions)
    whole = name in ("all-reduce", "all-gather")
    part = np.zeros_like(sender) if whole else receiver
    return _steps(positions, 1 if whole else positions, [(sender, receiver, part)])


def _pairwise(positions: int) -> Steps:
    sender, receiver = _pairs(positions)
    later = np.arange(positions, len(sender))
    return _steps(positions, positions, [(sender, receiver, receiver)], (later, later - positions))


def _two_shot(positions: int) -> Steps:
    """Reduce every part on one position, then send it to all; in between each position has a step that gathers its part."""
    sender, receiver = _pairs(positions)
    count, places = len(sender), np.arange(positions)
    gathered = (places, np.full(positions, NONE), np.full(positions, NONE))
    reduced = (count + receiver, np.arange(count))
    spread = (count + positions + np.arange(count), count + sender)
    rows = [(sender, receiver, receiver), gathered, (sender, receiver, sender)]
    return _steps(positions, positions, rows, reduced, spread)


def _star(name: str, positions: int, root: int) -> Steps:
    others = np.setdiff1d(np.arange(positions), [root])
    hub = np.full_like(others, root)
    ends = (others, hub) if name in ("reduce", "gather") else (hub, others)
    if name == "scatter":
        return _steps(positions, positions, [(*ends, others)])
    return _steps(positions, 1, [(*ends, np.zeros_like(others))])


def _send_receive(positions: int, root: int) -> Steps:
    """Send from the root to the next position or, without a root, from every position to its next."""
    sender = np.arange(positions) if root < 0 else np.array([root])
    return _steps(positions, 1, [(sender, (sender + 1) % positions, np.zeros_like(sender))])


def _barrier(positions: int) -> Steps:
    """Have one position wait for all, and all for it."""
    places, none = np.arange(positions), np.full(positions, NONE)
    rows = [(places, none, none), (np.array([0]), np.array([NONE]), np.array([NONE])), (places, none, none)]
    meeting = np.full(positions, positions)
    return _steps(positions, 1, rows, (meeting, places), (positions + 1 + places, meeting))
