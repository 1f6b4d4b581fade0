"""The picture of a fabric: servers below, tiers of switches above, cables between them, failures in a colour of their own.

Servers under the same switches share a box, and so do switches that are too many to be told apart. NIC ports that lead past
the lowest row of switches, as ZCube's second port does, are drawn as one bus with a tap to every switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.model import CableKind, Fabric, SwitchGroup
from zcube.report.fabric_layout import Layout, lay_out
from zcube.report.names import display_names
from zcube.report.palette import GREEN, ORANGE, PURPLE, fabric_colours, tint
from zcube.report.picture import picture_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_NIC, _BUS, _TRUNK, _FAILED = GREEN, ORANGE, "#5f6b78", PURPLE
_INK, _SOFT = "#222222", "#555555"
#: The picture's unit is an inch: column of labels, columns of boxes, margin for buses.
_LABELS, _BOXES, _MARGIN = 3.3, 10.6, 0.7
_MOST_FAILURE_TEXTS = 24
_ROW_GAP, _BOX_HEIGHT, _SERVER_HEIGHT = 1.9, 0.5, 0.72


_Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class _Edges:
    """Cables between two boxes: how many, how many have failed, and whether they are a NIC's."""

    one: IntArray
    other: IntArray
    cables: IntArray
    failed: IntArray
    nic: BoolArray


def draw_fabric(fabric: Fabric, colour: str | None = None) -> Figure:
    """Draw a fabric.

    Parameters
    ----------
    fabric : Fabric
        Of any family, with or without failures.
    colour : str, optional
        ``#rrggbb`` of its switches; default: the family's.
    """
    from matplotlib.figure import Figure

    layout = lay_out(fabric)
    height = 2.1 + _ROW_GAP * len(layout.rows) + _SERVER_HEIGHT
    figure = Figure(figsize=(_LABELS + _BOXES + _MARGIN, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, _LABELS + _BOXES + _MARGIN)
    axes.set_ylim(-0.95, height - 0.95)
    axes.set_axis_off()
    _Drawing(fabric, layout, axes, colour).draw()
    return figure


class _Drawing:
    """One fabric on one pair of axes."""

    def __init__(self, fabric: Fabric, layout: Layout, axes: Axes, colour: str | None):
        self.fabric, self.layout, self.axes = fabric, layout, axes
        self.name = display_names([fabric.name])[fabric.name]
        self.colour = colour or fabric_colours({fabric.name: {"family": fabric.family}})[fabric.name]
        self.edges = _box_edges(fabric, layout)
        self.failures = int((~fabric.cable_up).sum())
        self.has_bus = False

    def draw(self) -> None:
        """Draw everything, cables first so that boxes lie on them."""
        self._cables()
        self._buses()
        for number in range(len(self.layout.boxes)):
            self._box(number)
        self._row_labels()
        self._gap_labels()
        self._title()
        self._legend()

    def _height(self, row: int) -> float:
        return _BOX_HEIGHT if row else _SERVER_HEIGHT

    def _bottom(self, row: int) -> float:
        return 0.0 if row == 0 else _SERVER_HEIGHT + _ROW_GAP * row - _BOX_HEIGHT

    def _middle(self, box: int) -> float:
        return _LABELS + _BOXES * self.layout.boxes[box].x

    def _cables(self) -> None:
        """Draw the cables between boxes, parallel ones as one wider line, failed ones dashed over it."""
        from matplotlib.collections import LineCollection

        edges, boxes = self.edges, self.layout.boxes
        lines, widths, colours, broken, arcs = [], [], [], [], []
        counted: dict[tuple[int, bool], tuple[_Line, int]] = {}
        for one, other, cables, failed, nic in zip(edges.one, edges.other, edges.cables, edges.failed, edges.nic, strict=True):
            low, high = sorted((int(one), int(other)), key=lambda box: boxes[box].row)
            if nic and boxes[high].row > 1:
                continue
            if boxes[low].row == boxes[high].row:
                arcs.append((low, high, int(failed)))
                continue
            line = (
                (self._middle(low), self._bottom(boxes[low].row) + self._height(boxes[low].row)),
                (self._middle(high), self._bottom(boxes[high].row)),
            )
            lines.append(line)
            colours.append(_NIC if nic else _TRUNK)
            # What is left out counts as one line: its many cables would hide the rest.
            left_out = boxes[low].omitted or boxes[high].omitted
            widths.append(0.5 if left_out else 0.5 + 0.45 * float(np.log2(cables)))
            if not left_out:
                counted.setdefault((boxes[low].row, bool(nic)), (line, int(cables)))
            if failed:
                dead = boxes[low].failed or boxes[high].failed
                broken.append((line, "" if dead else f"{failed} of {cables:,} down" if cables > 1 else "down"))
        crowd = 0.75 if len(lines) < 60 else 0.5
        self.axes.add_collection(LineCollection(lines, linewidths=widths, colors=colours, alpha=crowd, zorder=1))
        for line, cables in counted.values():
            if cables > 1:
                self._count(line, 0.2, f"x{cables:,}", _SOFT)
        for number, (line, text) in enumerate(broken):
            self.axes.add_collection(LineCollection([line], linewidths=2.2, colors=_FAILED, linestyles=[(0, (4, 2))], zorder=2))
            if text and number < _MOST_FAILURE_TEXTS:
                self._count(line, 0.45 + 0.12 * (number % 4), text, _FAILED)
        for low, high, failed in arcs:
            self._arc(low, high, bool(failed))

    def _count(self, line: _Line, place: float, text: str, colour: str) -> None:
        """Write how many cables a line stands for."""
        (x0, y0), (x1, y1) = line
        frame = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        x, y = x0 + place * (x1 - x0), y0 + place * (y1 - y0)
        self.axes.text(x, y, text, fontsize=7.5, color=colour, ha="center", va="center", bbox=frame, zorder=4)

    def _arc(self, one: int, other: int, failed: bool) -> None:
        """Draw a cable between boxes of one row over their tops; one inside a box is only counted."""
        from matplotlib.patches import FancyArrowPatch

        if one == other:
            return
        left, right = sorted((self._middle(one), self._middle(other)))
        top = self._bottom(self.layout.boxes[one].row) + _BOX_HEIGHT
        bend = min(0.5, 1.1 / max(right - left, 0.1))
        colour, style = (_FAILED, (0, (4, 2))) if failed else (_TRUNK, "solid")
        arc = FancyArrowPatch(
            (left, top), (right, top), connectionstyle=f"arc3,rad={-bend}", arrowstyle="-", color=colour, linestyle=style,
            linewidth=0.8, alpha=0.7, zorder=1,
        )  # fmt: skip
        self.axes.add_patch(arc)

    def _buses(self) -> None:
        """Draw NIC ports that lead to a row above the lowest: a line along the servers, up beside the rows, along that row."""
        fabric, boxes = self.fabric, self.layout.boxes
        row_of_box = np.array([box.row for box in boxes])
        far = self.layout.box_of_node[fabric.cables.b[fabric.nic_cable]]
        for lane, row in enumerate(row for row in range(2, len(self.layout.rows) + 1) if (row_of_box[far] == row).any()):
            self.has_bus = True
            right = _LABELS + _BOXES + 0.15 + 0.15 * lane
            foot, over = -0.14 - 0.1 * lane, self._bottom(row) + _BOX_HEIGHT + 0.2
            hit = row_of_box[far] == row
            servers = np.unique(np.broadcast_to(self.layout.box_of_node[: fabric.gpus, None], far.shape)[hit])
            taps = np.unique(far[hit])
            up = fabric.cable_up[fabric.nic_cable]
            left = min(self._middle(int(box)) for box in servers)
            self._bus_line([left, right, right], [foot, foot, over])
            self._bus_line([min(self._middle(int(box)) for box in taps), right], [over, over])
            for box in servers:
                self._bus_line([self._middle(int(box))] * 2, [foot, 0.0])
            for box in taps:
                down = bool((hit & (far == box) & ~up).any())
                self._bus_line([self._middle(int(box))] * 2, [over, self._bottom(row) + _BOX_HEIGHT], down)

    def _bus_line(self, x: list[float], y: list[float], failed: bool = False) -> None:
        colour, width = (_FAILED, 2.4) if failed else (_BUS, 1.6)
        dashes: Any = (0, (3, 1.5)) if failed else "solid"
        self.axes.plot(x, y, color=colour, linewidth=width, linestyle=dashes, solid_joinstyle="round", zorder=1.5)

    def _box(self, number: int) -> None:
        from matplotlib.patches import FancyBboxPatch

        box = self.layout.boxes[number]
        width, height, bottom = box.width * _BOXES, self._height(box.row), self._bottom(box.row)
        face = "#fbfbfa" if box.omitted else "#f1f1ee" if box.row == 0 else tint(self.colour, 0.22)
        edge = _FAILED if box.failed else "#999999" if box.omitted or box.row == 0 else self.colour
        style = (0, (3, 2)) if box.failed or box.omitted else "solid"
        pad = 0.03
        self.axes.add_patch(
            FancyBboxPatch(
                (self._middle(number) - width / 2 + pad, bottom + pad), width - 2 * pad, height - 2 * pad,
                boxstyle=f"round,pad={pad},rounding_size=0.06", facecolor=face, edgecolor=edge, linestyle=style,
                linewidth=2.0 if box.failed else 1.0, zorder=3,
            )
        )  # fmt: skip
        longest = max(len(line) for line in box.text)
        size = max(4.5, min(9.0, 100.0 * width / max(longest, 4), 62.0 * height / (1.3 * len(box.text))))
        text = "\n".join(picture_text(line) for line in box.text)
        self.axes.text(
            self._middle(number), bottom + height / 2, text, ha="center", va="center", fontsize=size, color=_INK,
            linespacing=1.1, zorder=4,
        )  # fmt: skip

    def _row_labels(self) -> None:
        """Write left of every row what it holds."""
        fabric = self.fabric
        lines = f"{fabric.servers:,} servers x {fabric.gpus_per_server} GPUs", f"{fabric.nic_ports} NIC ports per GPU"
        self._label(self._bottom(0) + _SERVER_HEIGHT / 2, lines[0], lines[1] if fabric.nic_ports > 1 else "1 NIC port per GPU")
        for row, units in enumerate(self.layout.rows, start=1):
            names = [f"{role}: {len(nodes):,} x {_model(_group(fabric, nodes))}" for role, nodes in units]
            step = 0.2
            start = self._bottom(row) + _BOX_HEIGHT / 2 + step * (len(names) - 1) / 2
            for place, name in enumerate(names):
                self._label(start - step * place, name, "")

    def _label(self, y: float, text: str, under: str) -> None:
        self.axes.text(0.15, y + (0.09 if under else 0), picture_text(text), fontsize=9.5, fontweight="bold", va="center")
        if under:
            self.axes.text(0.15, y - 0.12, picture_text(under), fontsize=8.5, color=_SOFT, va="center")

    def _gap_labels(self) -> None:
        """Write left of every gap which cables cross it."""
        texts: dict[int, list[tuple[str, str]]] = {}
        for row, text in _nic_texts(self.fabric, self.layout):
            texts.setdefault(0, []).append((text, _NIC if row == 1 else _BUS))
        for row, text in _trunk_texts(self.fabric, self.layout):
            texts.setdefault(row, []).append((text, _TRUNK))
        for row, lines in texts.items():
            low = self._bottom(row) + self._height(row)
            middle = (low + self._bottom(row + 1)) / 2 if row < len(self.layout.rows) else low + 0.35
            for place, (text, colour) in enumerate(lines):
                y = middle + 0.2 * (len(lines) - 1) / 2 - 0.2 * place
                self.axes.text(0.15, y, picture_text(text), fontsize=8.5, color=colour, va="center")

    def _title(self) -> None:
        fabric = self.fabric
        left, top = 0.15, self.axes.get_ylim()[1]
        under = f"{fabric.gpus:,} GPUs of {fabric.nic_gbps:g}G, {fabric.servers:,} servers, {fabric.switches:,} switches"
        failed = f", {self.failures:,} cables failed" if self.failures else ""
        self.axes.text(left, top - 0.28, picture_text(self.name), fontsize=14, fontweight="bold", va="center")
        self.axes.text(left, top - 0.56, f"{under}{failed} (family {picture_text(fabric.family)})", fontsize=10, color=_SOFT)

    def _legend(self) -> None:
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=_NIC, linewidth=1.5, label="NIC cables")]
        if self.has_bus:
            handles.append(Line2D([], [], color=_BUS, linewidth=1.8, label="NIC cables to a further row, as a bus"))
        if (self.fabric.cables.kind == CableKind.SWITCH).any():
            handles.append(Line2D([], [], color=_TRUNK, linewidth=1.5, label="cables between switches (wider: more)"))
        if any(box.omitted for box in self.layout.boxes):
            handles.append(Line2D([], [], color="#999999", linestyle=(0, (3, 2)), label="left out, not different"))
        if self.failures:
            handles.append(Line2D([], [], color=_FAILED, linewidth=2.2, linestyle=(0, (3, 1.5)), label="failed"))
        self.axes.legend(handles=handles, loc="lower left", ncols=len(handles), fontsize=8.5, frameon=False, borderaxespad=0.4)


def _box_edges(fabric: Fabric, layout: Layout) -> _Edges:
    """Return the cables between boxes, each pair of boxes once, NVLink left out."""
    cables = fabric.cables
    kept = np.flatnonzero(cables.kind != CableKind.NVLINK)
    ends = np.sort(np.stack([layout.box_of_node[cables.a[kept]], layout.box_of_node[cables.b[kept]]]), axis=0)
    pairs, group = np.unique(ends, axis=1, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    failed = np.bincount(group, weights=~fabric.cable_up[kept]).astype(np.int64)
    nic = np.bincount(group, weights=cables.kind[kept] == CableKind.NIC) > 0
    return _Edges(pairs[0], pairs[1], count, failed, nic)


def _nic_texts(fabric: Fabric, layout: Layout) -> list[tuple[int, str]]:
    """Return, per row that NIC ports lead to, the row and what its cables are."""
    row_of_box = np.array([box.row for box in layout.boxes])
    row = row_of_box[layout.box_of_node[fabric.cables.b[fabric.nic_cable]]]
    texts = []
    for target in np.unique(row):
        roles = ", ".join(role for role, _ in layout.rows[int(target) - 1])
        ports = np.flatnonzero((row == target).any(axis=0))
        named = f"NIC port {ports[0]}" if len(ports) == 1 else f"NIC ports {ports[0]}-{ports[-1]}"
        rates = _rates(fabric, fabric.nic_cable[row == target])
        texts.append((int(target), f"{named} to {roles}: {int((row == target).sum()):,} x {rates}"))
    return texts


def _trunk_texts(fabric: Fabric, layout: Layout) -> list[tuple[int, str]]:
    """Return, per pair of roles that are cabled, the lower row and how many cables of which rate each switch pair has."""
    cables = fabric.cables
    units = [(row, role, nodes) for row, found in enumerate(layout.rows, start=1) for role, nodes in found]
    unit_of = np.full(fabric.nodes, -1)
    for number, (_, _, nodes) in enumerate(units):
        unit_of[nodes] = number
    trunk = np.flatnonzero(cables.kind == CableKind.SWITCH)
    ends = np.sort(np.stack([unit_of[cables.a[trunk]], unit_of[cables.b[trunk]]]), axis=0)
    texts = []
    for low, high in np.unique(ends, axis=1).T.tolist():
        mine = trunk[(ends[0] == low) & (ends[1] == high)]
        nodes = np.sort(np.stack([cables.a[mine], cables.b[mine]]), axis=0)
        parallel = np.unique(nodes, axis=1, return_counts=True)[1]
        per_pair = f"{parallel.min()}" if parallel.min() == parallel.max() else f"{parallel.min()}-{parallel.max()}"
        roles = f"{units[low][1]}-{units[high][1]}"
        texts.append((units[low][0], f"{roles}: {per_pair} x {_rates(fabric, mine)} per pair, {len(mine):,} in all"))
    return texts


def _rates(fabric: Fabric, cables: IntArray) -> str:
    rates = np.unique(fabric.cables.gbps[cables])
    return f"{rates[0]:g}G" if len(rates) == 1 else f"{rates[0]:g}-{rates[-1]:g}G"


def _group(fabric: Fabric, nodes: IntArray) -> SwitchGroup:
    return next(group for group in fabric.groups if group.first_node <= nodes[0] < group.first_node + group.count)


def _model(group: SwitchGroup) -> str:
    return f"{group.model.name} ({group.model.ports} x {group.model.port_gbps:g}G)"
