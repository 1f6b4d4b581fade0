"""Draw the pictures of docs/concepts.md: fabrics as ``zcube fabric draw`` does, and the paths that transfers take over them.

Run ``python docs/pictures.py`` after changing a drawing; a test compares the files' text with what this draws.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import zcube as zc
from zcube.report.fabric_drawing import draw_fabric
from zcube.report.palette import BLUE, GREEN, ORANGE, PURPLE
from zcube.report.picture import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent / "pictures"
FABRICS = ("roft-32", "zcube-32")

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_INK, _SOFT, _BOX = "#222222", "#555555", {"boxstyle": "round,pad=0.4", "facecolor": "#f1f1ee", "edgecolor": "#777777"}

#: A directed link where a path takes it: number of the hop, and the nodes it joins.
_Hop = tuple[int, str, str]


def pictures() -> dict[str, Figure]:
    """Return every picture by the stem of its file."""
    drawn = {name: draw_fabric(zc.load_fabric(name)) for name in FABRICS}
    return {**drawn, "to-one": _draw_paths("to-one"), "over-rails": _draw_paths("over-rails"), "request": _draw_request()}


def _draw_paths(flows: str) -> Figure:
    """Draw which links the transfers of a list take on each fabric, hop by hop, and how many transfers share one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.6))
    for axes, fabric in zip(figure.subplots(1, len(FABRICS)), FABRICS, strict=True):
        replayed = zc.replay(fabric, FOLDER / f"{flows}.csv")
        _draw_hops(axes, _flows_of_hops(replayed))
        axes.set_title(fabric, loc="left", fontsize=12, fontweight="bold", color=_INK)
        slow = ", ".join(f"{value:.2f}" for value in replayed.table().slowdown)
        axes.set_title(f"slow-down {slow}", loc="right", fontsize=10, color=_SOFT)
    figure.subplots_adjust(left=0.03, right=0.97, top=0.9, bottom=0.02, wspace=0.08)
    return figure


def _flows_of_hops(replayed: zc.Replay) -> dict[_Hop, list[int]]:
    """Return the transfers that take each hop, in their order, once for every path that does."""
    routes = replayed.carrier.routing.routes(replayed.flows.source, replayed.flows.target)
    links = replayed.carrier.link_set
    found = defaultdict(list)
    for flow in range(routes.flows):
        for path in range(routes.first_subflow[flow], routes.first_subflow[flow + 1]):
            taken = routes.link[routes.first_hop[path] : routes.first_hop[path + 1]].tolist()
            for hop, link in enumerate(taken):
                found[hop, links.source[link], links.target[link]].append(flow)
    return found


def _draw_hops(axes: Axes, hops: dict[_Hop, list[int]]) -> None:
    columns: dict[int, set[str]] = defaultdict(set)
    for hop, start, end in hops:
        columns[hop].add(start)
        columns[hop + 1].add(end)
    place = {
        (column, name): (column, 1 - (row + 0.5) / len(names))
        for column, names in columns.items()
        for row, name in enumerate(sorted(names))
    }
    for (hop, start, end), flows in hops.items():
        (x0, y0), (x1, y1) = place[hop, start], place[hop + 1, end]
        for lane, flow in enumerate(flows):
            shift = 0.022 * (lane - (len(flows) - 1) / 2)
            axes.plot([x0, x1], [y0 + shift, y1 + shift], color=_COLOURS[flow], linewidth=2, zorder=1)
        if len(set(flows)) > 1:
            text = f"{len(set(flows))} transfers"
            frame = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
            axes.text(
                (x0 + x1) / 2, (y0 + y1) / 2, text, fontsize=8, color=_INK, ha="center", va="center", bbox=frame, zorder=2
            )
    for (_, name), (x, y) in place.items():
        axes.text(x, y, name, ha="center", va="center", fontsize=9, color=_INK, bbox=_BOX, zorder=3)
    axes.set_xlim(-0.3, max(columns) + 0.3)
    axes.set_ylim(0, 1.05)
    axes.set_axis_off()


def _draw_request() -> Figure:
    """Draw the way of a request through disaggregated serving, and what waits for what."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.3))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    parts = (
        ("router", "fewest tokens to compute,\ncached prefix counted in"),
        ("prefill node", "8 GPUs compute the prompt,\nchunk by chunk"),
        ("fabric", "KV cache of every chunk,\nbeside everybody else's"),
        ("decode node", "8 GPUs, one token a step\nfor the whole batch"),
        ("answer", "token by token"),
    )
    for number, (name, what) in enumerate(parts):
        axes.text(number, 0.62, name, ha="center", va="center", fontsize=12, fontweight="bold", color=_INK, bbox=_BOX, zorder=3)
        axes.text(number, 0.36, what, ha="center", va="center", fontsize=9, color=_SOFT)
        if number:
            axes.annotate("", (number - 0.3, 0.62), (number - 0.7, 0.62), arrowprops={"arrowstyle": "->", "color": _SOFT})
    for left, right, height, text in (
        (0, 3, 0.86, "time to first token: queue, prefill, transfer alone, type 1, type 2, admission"),
        (3, 4, 0.1, "time per output token: decode steps"),
    ):
        axes.annotate(
            "", (left, height), (right, height), arrowprops={"arrowstyle": "|-|", "color": BLUE, "shrinkA": 0, "shrinkB": 0}
        )
        axes.text((left + right) / 2, height + 0.04, text, ha="center", va="bottom", fontsize=10, color=BLUE)
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.set_ylim(0, 1.05)
    axes.set_axis_off()
    return figure


if __name__ == "__main__":
    for stem, figure in pictures().items():
        save(figure, FOLDER / f"{stem}.svg")
