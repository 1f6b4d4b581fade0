"""Congestion trees: the congested port as the root, the ports paused because of it upstream, link by link."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.report.packet_picture import counted, paused_text, port_text
from zcube.report.quantities import time_text

if TYPE_CHECKING:
    from zcube.network.packet.counts import PauseLog

#: Trees returned unless asked otherwise, and lines of a tree's text.
MOST_TREES, MOST_LINES = 3, 40

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PausedPort:
    """A port in a tree.

    Attributes
    ----------
    link : int
        Number of the link the port leads to.
    source, target : str
        Node the port belongs to, and node it leads to.
    cause : int
        Place in the tree of the port it waited for; -1 for the root.
    layer : int
        Links from the root.
    paused_s, pauses : float, int
        How long and how often it was paused for this root, whichever port it waited for; of the root itself, how long and how
        often it was paused for other roots.
    by_cause_s : float
        The part of ``paused_s`` in which it waited for the port that stands as its cause.
    """

    link: int
    source: str
    target: str
    cause: int
    layer: int
    paused_s: float
    pauses: int
    by_cause_s: float

    @property
    def name(self) -> str:
        """The port as text."""
        return port_text(self.source, self.target)


@dataclass(frozen=True)
class CongestionTree:
    """A congested port and what was paused because of it.

    Attributes
    ----------
    ports : tuple of PausedPort
        The root first, then every port after its cause and before the next one beside its cause.
    paused_s, pauses : float, int
        Sums over the pauses of this root.
    share : float
        Its part of the paused time of all roots.
    behind : str
        The root for which this one was itself paused longest, as text; empty where it never was.
    """

    ports: tuple[PausedPort, ...]
    paused_s: float
    pauses: int
    share: float
    behind: str = ""

    @property
    def root(self) -> PausedPort:
        """The congested port."""
        return self.ports[0]

    @property
    def layers(self) -> int:
        """Links from the root to the farthest paused port."""
        return max(port.layer for port in self.ports)


def congestion_trees(
    log: PauseLog, source: Sequence[str], target: Sequence[str], most: int = MOST_TREES
) -> tuple[CongestionTree, ...]:
    """Return the trees with the most paused time.

    A port may have waited for several others, and pauses may form rings. In a tree every port stands once: the tree grows from
    its root, each time by the pair of a port and its cause with the most paused time for this root. A port between the root and
    a paused one that was itself paused for another root only is kept, with its zero. So is one whose pause is not in the log,
    and then it hangs at the root.

    Parameters
    ----------
    log : PauseLog
        Pauses that have ended; priorities of a link count together.
    source, target : sequence of str [links]
        Ends of the links.
    most : int
        Trees returned.

    Returns
    -------
    tuple of CongestionTree
        Most paused time first; empty if nothing was paused.
    """
    known = (log.root_link >= 0) & (log.cause_link >= 0)
    taken_s = (log.until_s - log.from_s)[known]
    link, cause, root = log.link[known], log.cause_link[known], log.root_link[known]
    waits = _waits(link, cause)
    roots, place = np.unique(root, return_inverse=True)
    total_s = np.bincount(place, taken_s, len(roots))
    whole_s = float(total_s.sum()) or 1.0
    trees = []
    for number in np.argsort(-total_s, kind="stable")[:most].tolist():
        mine = place == number
        grown = _Growth(int(roots[number]), link[mine], cause[mine], taken_s[mine], waits)
        paused = link == roots[number]
        ports = grown.ports(source, target, float(taken_s[paused].sum()), int(paused.sum()))
        behind = ""
        if paused.any():
            longest = int(roots[np.bincount(place[paused], taken_s[paused]).argmax()])
            behind = port_text(source[longest], target[longest])
        trees.append(CongestionTree(ports, float(total_s[number]), int(mine.sum()), float(total_s[number]) / whole_s, behind))
    return tuple(trees)


def tree_rows(trees: Sequence[CongestionTree]) -> list[dict[str, Any]]:
    """Return one JSON-ready row per port of every tree; trees count from 1, ports within their tree from 0.

    ``paused_s`` and ``pauses`` of a root are for other roots, as in :class:`PausedPort`.
    """
    return [
        {
            "tree": number,
            "port": place,
            "cause_port": None if port.cause < 0 else port.cause,
            "layer": port.layer,
            "from": port.source,
            "to": port.target,
            "paused_s": port.paused_s,
            "pauses": port.pauses,
            "by_cause_s": port.by_cause_s,
        }
        for number, tree in enumerate(trees, start=1)
        for place, port in enumerate(tree.ports)
    ]


def tree_text(trees: Sequence[CongestionTree], most: int = MOST_LINES) -> str:
    """Return trees as indented lines, what was paused below what it waited for.

    Parameters
    ----------
    trees : sequence of CongestionTree
        As :func:`congestion_trees` returns them.
    most : int
        Ports of a tree named, those paused longest and what leads to them; the others are counted.

    Returns
    -------
    str
        Lines with a final newline.
    """
    if not trees:
        return "No port was paused.\n"
    lines: list[str] = []
    for tree in trees:
        lines += ["", *_tree_lines(tree, most)] if lines else _tree_lines(tree, most)
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Remainder:
    """Ports not shown that hang somewhere below a shown one."""

    ports: int = 0
    paused_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.ports:,} more, {time_text(self.paused_s)} in all"


def most_paused(tree: CongestionTree, most: int, layers: int | None = None) -> tuple[list[int], dict[int, Remainder]]:
    """Return the places of the ports paused longest and of all that lead to them, and what hangs unshown at each.

    Parameters
    ----------
    tree : CongestionTree
        Any tree.
    most : int
        Ports shown at most, the root included; at least one.
    layers : int, optional
        Show none farther from the root.
    """
    shown = {0}
    for place in sorted(range(len(tree.ports)), key=lambda at: -tree.ports[at].paused_s):
        if layers is not None and tree.ports[place].layer > layers:
            continue
        way = list(_way(tree, place, shown))
        if len(shown) + len(way) <= most:
            shown.update(way)
    hidden: dict[int, Remainder] = {}
    for place, port in enumerate(tree.ports):
        if place not in shown:
            at = place
            while at not in shown:
                at = tree.ports[at].cause
            before = hidden.get(at, Remainder())
            hidden[at] = Remainder(before.ports + 1, before.paused_s + port.paused_s)
    return sorted(shown), hidden


def _way(tree: CongestionTree, place: int, shown: set[int]) -> Iterator[int]:
    """Yield a port and its causes up to the first that is shown."""
    while place not in shown:
        yield place
        place = tree.ports[place].cause


def _tree_lines(tree: CongestionTree, most: int) -> list[str]:
    root = tree.root
    also = f"; itself paused {time_text(root.paused_s)}, behind {tree.behind}" if root.pauses else ""
    sums = f"{paused_text(tree.paused_s, tree.pauses)} of {counted(len(tree.ports) - 1, 'port')}, {tree.share:.1%} of all"
    lines = [f"{root.name} congested: {sums}{also}"]
    shown, hidden = most_paused(tree, most + 1)
    # What hangs unshown at a port comes after all that is shown below it.
    open_at: list[int] = []
    for place in [*shown[1:], -1]:
        layer = tree.ports[place].layer if place >= 0 else 0
        while open_at and tree.ports[open_at[-1]].layer >= layer:
            lines += _rest_line(tree, open_at.pop(), hidden)
        if place >= 0:
            lines.append(f"{'  ' * layer}{_port_line(tree.ports[place])}")
            open_at.append(place)
    return [*lines, *_rest_line(tree, 0, hidden)]


def _port_line(port: PausedPort) -> str:
    other_s = port.paused_s - port.by_cause_s
    # Sums of the same times in another order may differ in their last digit.
    other = f", {time_text(other_s)} of it for other ports" if other_s > 1e-9 * port.paused_s else ""
    return f"{port.name}  {paused_text(port.paused_s, port.pauses)}{other}"


def _rest_line(tree: CongestionTree, place: int, hidden: dict[int, Remainder]) -> list[str]:
    return [f"{'  ' * (tree.ports[place].layer + 1)}{hidden[place]}"] if place in hidden else []


def _waits(link: np.ndarray, cause: np.ndarray) -> dict[int, list[int]]:
    """Return the links that ever waited for each link."""
    pairs = np.unique(np.stack([cause, link], axis=1), axis=0).tolist() if len(link) else []
    waits: dict[int, list[int]] = {}
    for one, other in pairs:
        waits.setdefault(one, []).append(other)
    return waits


class _Growth:
    """A tree that grows from its root."""

    def __init__(self, root: int, link: np.ndarray, cause: np.ndarray, taken_s: np.ndarray, waits: dict[int, list[int]]):
        self.waits = waits
        self.cause: dict[int, int] = {root: -1}
        self.taken_s: dict[_Pair, float] = {}
        self.paused_s: dict[int, float] = {}
        self.pauses: dict[int, int] = {}
        for one, other, time_s in zip(link.tolist(), cause.tolist(), taken_s.tolist(), strict=True):
            self.taken_s[one, other] = self.taken_s.get((one, other), 0.0) + time_s
            self.paused_s[one] = self.paused_s.get(one, 0.0) + time_s
            self.pauses[one] = self.pauses.get(one, 0) + 1
        self.root = root
        self._grow(root)
        # Chains whose middle is not in the log: their causes hang at the root.
        for one, other in sorted(self.taken_s, key=lambda pair: -self.taken_s[pair]):
            if one not in self.cause and other not in self.cause:
                self.cause[other] = root
                self._grow(other)
        self._prune()

    def _grow(self, start: int) -> None:
        """Add all that can be reached, the pair with the most paused time first."""
        front: list[tuple[float, int, int]] = []
        here = start
        while True:
            for link in self.waits.get(here, ()):
                if link not in self.cause:
                    heapq.heappush(front, (-self.taken_s.get((link, here), 0.0), link, here))
            while front and front[0][1] in self.cause:
                heapq.heappop(front)
            if not front:
                return
            _, link, cause = heapq.heappop(front)
            self.cause[link] = cause
            here = link

    def _prune(self) -> None:
        """Remove what neither was paused for this root nor leads to what was."""
        kept = {self.root}
        for link in self.paused_s:
            while link not in kept:
                kept.add(link)
                link = self.cause[link]
        self.cause = {link: cause for link, cause in self.cause.items() if link in kept}

    def ports(self, source: Sequence[str], target: Sequence[str], root_s: float, root_pauses: int) -> tuple[PausedPort, ...]:
        """Return the ports, each after its cause, those paused longest first."""
        below: dict[int, list[int]] = {}
        for link, cause in self.cause.items():
            below.setdefault(cause, []).append(link)
        found: list[PausedPort] = []
        waiting = [(self.root, -1, 0)]
        while waiting:
            link, cause, layer = waiting.pop()
            at_root = cause < 0
            paused_s, pauses = (root_s, root_pauses) if at_root else (self.paused_s.get(link, 0.0), self.pauses.get(link, 0))
            by_cause_s = 0.0 if at_root else self.taken_s.get((link, self.cause[link]), 0.0)
            found.append(PausedPort(link, source[link], target[link], cause, layer, paused_s, pauses, by_cause_s))
            here = len(found) - 1
            # The last one put on the stack is the first to be taken.
            for child in sorted(below.get(link, ()), key=lambda one: (self.paused_s.get(one, 0.0), -one)):
                waiting.append((child, here, layer + 1))
        return tuple(found)
