"""The picture of congestion trees: the congested port at the left, what was paused because of it to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zcube.report.congestion_tree import CongestionTree, Remainder, most_paused
from zcube.report.packet_picture import counted, drawn_port, paused_text
from zcube.report.palette import BLUE, VERMILLION, tint
from zcube.report.picture import picture_text, title
from zcube.report.quantities import time_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Trees drawn, ports of each, and links from the root beyond which ports are counted and not drawn.
DRAWN_TREES, DRAWN_PORTS, DRAWN_LAYERS = 4, 24, 8

#: Inches: height of a row, of the gap between trees, of a character's advance, of what a column has beside its text.
_ROW, _TREE_GAP, _CHARACTER, _BESIDE = 0.4, 0.35, 0.062, 0.75
_INK, _EDGE, _SOFT = "#222222", "#5f6b78", "#777777"
_THINNEST, _WIDEST = 0.8, 5.0


def plot_congestion_trees(trees: Sequence[CongestionTree], under: str = "") -> Figure:
    """Draw congestion trees below each other, the one with the most paused time first.

    Parameters
    ----------
    trees : sequence of CongestionTree
        As :func:`~zcube.report.congestion_tree.congestion_trees` returns them; the first :data:`DRAWN_TREES` are drawn.
    under : str
        Conditions of the run, written below.
    """
    from matplotlib.figure import Figure

    drawings = [_Drawing(tree) for tree in trees[:DRAWN_TREES]]
    column = max((drawing.column for drawing in drawings), default=4.0)
    columns = 1 + max((drawing.layers for drawing in drawings), default=1)
    height = sum(drawing.rows * _ROW + _TREE_GAP for drawing in drawings) or 1.0
    figure = Figure(figsize=(max(7.0, column * columns + 0.3), height + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.1, max(6.8, column * columns))
    axes.set_ylim(-height, 0.45)
    if not drawings:
        axes.text(3.4, -0.4, "No port was paused.", ha="center", va="center")
    else:
        _heads(axes, column, columns)
    top = 0.0
    for drawing in drawings:
        drawing.draw(axes, column, top)
        top -= drawing.rows * _ROW + _TREE_GAP
    notes = [under, *(["data go from right to left, pauses from left to right"] if drawings else [])]
    if len(trees) > len(drawings):
        notes.append(f"{counted(len(trees) - len(drawings), 'further tree')} not drawn")
    title(figure, "Congestion trees: congested ports and what they paused", "; ".join(filter(None, notes)) or "no pause")
    return figure


def _heads(axes: Axes, column: float, columns: int) -> None:
    for layer in range(columns):
        head = "congested" if layer == 0 else f"paused, {counted(layer, 'link')} upstream"
        axes.text(layer * column, 0.25, head, fontsize=8.5, color=_SOFT, va="bottom")


class _Drawing:
    """One tree: which ports are drawn, their texts and their rows."""

    def __init__(self, tree: CongestionTree):
        self.tree = tree
        self.shown, self.hidden = most_paused(tree, DRAWN_PORTS, DRAWN_LAYERS)
        self.text = {place: self._text(place) for place in self.shown}
        self.row, self.hidden_row, self.rows = self._rows()
        self.layers = max(tree.ports[place].layer + (place in self.hidden) for place in self.shown)
        lines = [line for text in [*self.text.values(), *map(_rest, self.hidden.values())] for line in text.split("\n")]
        self.column = _CHARACTER * max(map(len, lines)) + _BESIDE

    def _text(self, place: int) -> str:
        port = self.tree.ports[place]
        name = drawn_port(port.source, port.target)
        if place:
            return f"{name}\n{paused_text(port.paused_s, port.pauses)}"
        caused = f"{name}\npaused others {paused_text(self.tree.paused_s, self.tree.pauses)}\n{self.tree.share:.1%} of all"
        return (
            f"{caused}\nitself {time_text(port.paused_s)}, behind {picture_text(self.tree.behind)}" if port.pauses else caused
        )

    def _rows(self) -> tuple[dict[int, float], dict[int, float], int]:
        """Return the row of every port and of what hangs unshown at it: leaves in turn, causes amid what they paused."""
        ends: dict[int, list[float]] = {place: [] for place in self.shown}
        row: dict[int, float] = {}
        hidden_row: dict[int, float] = {}
        used = 0
        leads = {self.tree.ports[place].cause for place in self.shown[1:]}
        # What hangs unshown at a port stands below all that is shown under it.
        turn: list[tuple[int, bool]] = [
            (place, False) for place in self.shown if place not in leads and place not in self.hidden
        ]
        turn += [(place, True) for place in self.hidden]
        for place, is_rest in sorted(turn, key=lambda one: (self._last_below(one[0]) if one[1] else one[0], one[1], -one[0])):
            if is_rest:
                hidden_row[place] = float(used)
                ends[place].append(float(used))
            else:
                row[place] = float(used)
            used += 1
        for place in reversed(self.shown):
            row.setdefault(place, (min(ends[place], default=0.0) + max(ends[place], default=0.0)) / 2)
            if place:
                ends[self.tree.ports[place].cause].append(row[place])
        # A root of four lines needs the room of two rows.
        return row, hidden_row, max(used, 2)

    def _last_below(self, place: int) -> int:
        """Return the last shown port of the part of the tree below a port."""
        layer = self.tree.ports[place].layer
        last = place
        for other in self.shown:
            if other > place:
                if self.tree.ports[other].layer <= layer:
                    break
                last = other
        return last

    def draw(self, axes: Axes, column: float, top: float) -> None:
        """Draw the tree, its first row at a height."""
        ports = self.tree.ports
        longest_s = max((port.paused_s for port in ports[1:]), default=0.0) or 1.0
        widest_s = max((port.by_cause_s for port in ports[1:]), default=0.0) or 1.0

        def spot(place: int) -> tuple[float, float]:
            return ports[place].layer * column, top - self.row[place] * _ROW

        for place in self.shown[1:]:
            width = _THINNEST + (_WIDEST - _THINNEST) * ports[place].by_cause_s / widest_s
            _join(axes, spot(ports[place].cause), spot(place), width, "solid")
        for place, rest in self.hidden.items():
            at = ((ports[place].layer + 1) * column, top - self.hidden_row[place] * _ROW)
            _join(axes, spot(place), at, _THINNEST, "dotted")
            _box(axes, at, _rest(rest), "white", _SOFT)
        for place in self.shown:
            strength = 0.08 + 0.37 * ports[place].paused_s / longest_s
            _box(axes, spot(place), self.text[place], tint(VERMILLION, 0.45) if not place else tint(BLUE, strength), _INK)


def _rest(rest: Remainder) -> str:
    return f"{rest.ports:,} more\n{time_text(rest.paused_s)} in all"


def _box(axes: Axes, at: tuple[float, float], text: str, fill: str, ink: str) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": fill, "edgecolor": _EDGE, "linewidth": 0.6}
    axes.text(*at, text, fontsize=7.5, color=ink, ha="left", va="center", bbox=box, zorder=3, linespacing=1.1)


def _join(axes: Axes, one: tuple[float, float], other: tuple[float, float], width: float, style: str) -> None:
    """Draw a line from a port to one it paused, level at both ends; boxes hide where it starts."""
    step = np.linspace(0.0, 1.0, 80)
    # The bend lies right of the left port's box, whose width is not known here, hence in the last part of the column.
    bend = np.clip((step - 0.6) / 0.4, 0.0, 1.0)
    rise = bend * bend * (3 - 2 * bend)
    axes.plot(
        one[0] + step * (other[0] - one[0]),
        one[1] + rise * (other[1] - one[1]),
        color=_EDGE,
        linewidth=width,
        linestyle=style,
        alpha=0.75,
        solid_capstyle="butt",
        zorder=1,
    )
