"""The picture of ports over time: a row per port, its queue's depth above the row's line, its pauses below.

Depths are drawn on a square-root scale, so that thresholds and shallow queues can be seen beside the congested port's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.report.packet_picture import counted, drawn_port, paused_text
from zcube.report.palette import INK, ORANGE, PURPLE, SKY, SOFT, VERMILLION
from zcube.report.picture import title
from zcube.report.quantities import bytes_text, time_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.network.packet.counts import QueueTable
    from zcube.network.packet.settings import PacketSettings
    from zcube.network.protocol import LinkTable

#: Ports drawn unless asked otherwise and at most, and columns of time, about one per dot.
SHOWN_PORTS, MOST_PORTS, MOST_COLUMNS = 16, 64, 1200
#: Part of the longest pause and of the deepest queue below which a port does not matter.
LEAST_SCORE = 0.01
#: A threshold beyond this multiple of the deepest queue is named but not drawn, since it would flatten all queues.
FARTHEST_THRESHOLD = 4.0

#: Parts of a row's height: the deepest queue above its line, a bin paused throughout below it, the gap between the two.
_DEEPEST, _PAUSED, _GAP = 0.58, 0.2, 0.04
_PAUSE_COLOUR, _LINE, _SOFT = INK, "#999999", SOFT
_TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


@dataclass(frozen=True, eq=False)
class PortHistory:
    """Ports over time, those that matter most first.

    Attributes
    ----------
    source, target : tuple of str [ports]
        Node a port belongs to, and node it leads to.
    priority : int array [ports]
        Priority of the queue; -1 where the network has one only.
    in_host : bool array [ports]
        Whether the port is a NIC's, whose packets wait in the host's memory, so that its depth is not known.
    begin_s, bin_s : float
        Start of the first bin and width of each.
    depth_bytes : float array [bins, ports]
        Depth of the egress queue.
    paused_s : float array [bins, ports]
        How long the port was paused in each bin.
    pauses, total_paused_s, peak_bytes : array [ports]
        Over the whole run.
    kmin_bytes, kmax_bytes, xoff_bytes : float array [ports]
        Depth of the queue from which packets are marked, and from which all are; what packets that came by one link may take
        of a switch before that link is paused. nan where there is none, or where it changes with the buffer.
    left_out : int
        Further ports with a queue or a pause.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    priority: IntArray
    in_host: BoolArray
    begin_s: float
    bin_s: float
    depth_bytes: FloatArray
    paused_s: FloatArray
    pauses: IntArray
    total_paused_s: FloatArray
    peak_bytes: IntArray
    kmin_bytes: FloatArray
    kmax_bytes: FloatArray
    xoff_bytes: FloatArray
    left_out: int = 0


def port_history(
    queues: QueueTable,
    depth_bytes: IntArray,
    paused_s: FloatArray,
    bin_s: float,
    links: LinkTable,
    settings: PacketSettings,
    most: int = SHOWN_PORTS,
) -> PortHistory:
    """Return the history of the ports that matter most, over the time in which there is something to see.

    Parameters
    ----------
    queues : QueueTable
        ``PacketModel.queue_table()``.
    depth_bytes, paused_s : array [bins, queues]
        ``PacketModel.depth_bins()`` and ``pause_bins_s()``.
    bin_s : float
        Width of these bins.
    links : LinkTable
        ``PacketModel.link_table()``.
    settings : PacketSettings
        What was simulated.
    most : int
        Ports kept, at most :data:`MOST_PORTS`.
    """
    per_link = max(1, len(queues.pauses) // max(1, len(links.capacity_bps)))
    link = np.arange(len(queues.pauses)) // per_link
    in_host = links.leaves_gpu[link]
    chosen = ports_that_matter(queues.paused_s, queues.peak_bytes, in_host, min(most, MOST_PORTS))
    seen = int(((queues.paused_s > 0) | (queues.peak_bytes > 0)).sum())
    used = np.flatnonzero(depth_bytes.any(axis=1) | paused_s.any(axis=1))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    together = -(-(last - first) // MOST_COLUMNS) or 1
    rate_bps = links.capacity_bps[link[chosen]]
    paused = _joined(paused_s[first:last, chosen], together, np.add)
    depth = _joined(depth_bytes[first:last, chosen], together, np.maximum)
    kmin, kmax = _marking(settings, rate_bps)
    return PortHistory(
        tuple(queues.source[row] for row in chosen.tolist()),
        tuple(queues.target[row] for row in chosen.tolist()),
        queues.priority[chosen] if per_link > 1 else np.full(len(chosen), -1),
        in_host[chosen],
        first * bin_s,
        together * bin_s,
        depth,
        paused,
        queues.pauses[chosen],
        queues.paused_s[chosen],
        queues.peak_bytes[chosen],
        kmin,
        kmax,
        np.full(len(chosen), _fixed_xoff(settings)),
        seen - len(chosen),
    )


def ports_that_matter(paused_s: FloatArray, peak_bytes: IntArray, in_host: BoolArray, most: int) -> IntArray:
    """Return the ports that were paused longest or had the deepest queues, most first.

    A port counts by its paused time over the longest of all or its depth over the deepest of all, whichever is more. While
    there are ports of switches, NICs get half the places at most, since every sender of an incast is paused. Ports that count
    less than :data:`LEAST_SCORE` are left out.

    Parameters
    ----------
    paused_s, peak_bytes, in_host : array [ports]
        Time paused, deepest queue, whether it is a NIC's.
    most : int
        Ports returned at most.
    """
    score = np.maximum(paused_s / (paused_s.max(initial=0.0) or 1.0), peak_bytes / (peak_bytes.max(initial=0) or 1))
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= LEAST_SCORE]
    of_host = in_host[order]
    late = of_host & (np.cumsum(of_host) > most // 2)
    kept = np.concatenate([order[~late], order[late]])[:most]
    return np.asarray(kept[np.argsort(-score[kept], kind="stable")])


def plot_port_history(history: PortHistory, under: str = "") -> Figure:
    """Draw queue depth and pauses over time, a row per port; all rows have one scale.

    Parameters
    ----------
    history : PortHistory
        What to draw.
    under : str
        Conditions of the run, written below.
    """
    from matplotlib.figure import Figure

    bins, ports = history.depth_bytes.shape
    figure = Figure(figsize=(11, 2.2 + 0.52 * max(ports, 2)), layout="constrained")
    axes = figure.subplots()
    if bins and ports:
        _draw(axes, history)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No queue and no pause in any bin of time.", ha="center", va="center")
    notes = [
        under,
        f"{counted(history.left_out, 'further port')} with a queue or a pause not drawn" if history.left_out else "",
    ]
    title(figure, "Queue depth and pauses over time, by port", "; ".join(filter(None, notes)) or "depth of egress queues")
    return figure


def _joined(cells: np.ndarray, together: int, ufunc: Any) -> np.ndarray:
    """Return rows joined so many at a time."""
    return np.asarray(ufunc.reduceat(cells, np.arange(0, len(cells), together), axis=0)) if len(cells) else cells


def _marking(settings: PacketSettings, rate_bps: FloatArray) -> tuple[FloatArray, FloatArray]:
    none = np.full(len(rate_bps), np.nan)
    return settings.marking_of(rate_bps)[:2] if settings.control.marks else (none, none)


def _fixed_xoff(settings: PacketSettings) -> float:
    if not settings.pfc or settings.pfc_threshold != "static":
        return float("nan")
    return float(max(settings.xoff_bytes, settings.least_threshold_bytes if settings.cell_bytes else 0))


def _draw(axes: Axes, history: PortHistory) -> None:
    bins, ports = history.depth_bytes.shape
    end_s = history.begin_s + bins * history.bin_s
    unit, size = next(((name, size) for name, size in _TIME_UNITS if end_s >= 2 * size), _TIME_UNITS[-1])
    edges = (history.begin_s + history.bin_s * np.arange(bins + 1)) / size
    deepest = float(history.depth_bytes.max())
    limits = {"KMIN": history.kmin_bytes, "KMAX": history.kmax_bytes, "XOFF of what one link brings": history.xoff_bytes}
    near = [value for row in limits.values() for value in row[row <= FARTHEST_THRESHOLD * deepest].tolist()]
    scale = max([deepest, *near]) or 1.0
    for row in range(ports):
        _draw_row(axes, edges, _height(history.depth_bytes[:, row], scale), history.paused_s[:, row] / history.bin_s, -row)
    axes.hlines(-np.arange(ports), edges[0], edges[-1], color=_LINE, linewidth=0.6)
    handles = [*_patches(), *_thresholds(axes, limits, ~history.in_host, scale, edges)]
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-ports + 1 - 0.35, 0.85)
    axes.set_yticks(-np.arange(ports), [_label(history, row) for row in range(ports)], fontsize=7.5)
    _label_scale(axes, history.in_host, scale)
    axes.set_xlabel(f"time ({unit}); bins of {time_text(history.bin_s)}")
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8.5, frameon=False)


def _height(depth_bytes: FloatArray, scale: float) -> FloatArray:
    return np.asarray(_DEEPEST * np.sqrt(np.asarray(depth_bytes) / scale))


def _draw_row(axes: Axes, edges: FloatArray, depth: FloatArray, paused: FloatArray, base: float) -> None:
    if depth.any():
        axes.stairs(base + depth, edges, baseline=base, fill=True, color=SKY, linewidth=0)
    if paused.any():
        under = base - _GAP
        axes.stairs(
            under - _PAUSED * np.minimum(paused, 1.0), edges, baseline=under, fill=True, color=_PAUSE_COLOUR, linewidth=0
        )


def _patches() -> list[Any]:
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=SKY, label="queue depth: deepest in the bin, square-root scale"),
        Patch(facecolor=_PAUSE_COLOUR, label="paused: full height is all of the bin"),
    ]


def _thresholds(axes: Axes, limits: dict[str, FloatArray], known: BoolArray, scale: float, edges: FloatArray) -> list[Any]:
    """Draw thresholds as lines and return their entries of the legend; those too far off get an entry only."""
    from matplotlib.lines import Line2D

    handles = []
    for (name, limit), colour, dash in zip(limits.items(), (ORANGE, VERMILLION, PURPLE), ("--", "-.", ":"), strict=True):
        style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 0.9}
        row = np.flatnonzero(np.isfinite(limit) & known)
        if not len(row):
            continue
        drawn = row[limit[row] <= scale]
        axes.hlines(-drawn + _height(limit[drawn], scale), edges[0], edges[-1], **style)
        values = np.unique(limit[row])
        value = " to ".join(bytes_text(end) for end in dict.fromkeys((float(values[0]), float(values[-1]))))
        beyond = "" if len(drawn) else ", beyond the scale"
        handles.append(Line2D([], [], **style, label=f"{name}: {value}{beyond}"))
    return handles


def _label(history: PortHistory, row: int) -> str:
    name = drawn_port(history.source[row], history.target[row])
    priority = "" if history.priority[row] < 0 else f" priority {history.priority[row]}"
    depth = "NIC" if history.in_host[row] else f"deepest {bytes_text(float(history.peak_bytes[row]))}"
    count = int(history.pauses[row])
    paused = paused_text(float(history.total_paused_s[row]), count) if count else "never paused"
    return f"{name}{priority}\n{depth}, {paused}"


def _label_scale(axes: Axes, in_host: BoolArray, scale: float) -> None:
    """Write the scale of depths at the right of every row that has one."""
    rows = -np.flatnonzero(~in_host)
    if not len(rows):
        return
    edge = axes.get_xlim()[1]
    axes.vlines([edge] * len(rows), rows, rows + _DEEPEST, color=_LINE, linewidth=1.5, clip_on=False)
    right = axes.secondary_yaxis("right")
    marks = [0.0, scale / 4, scale]
    places = [place for mark in marks for place in rows + float(_height(np.array(mark), scale))]
    right.set_yticks(places, [text for mark in marks for text in [bytes_text(mark)] * len(rows)], fontsize=6, color=_SOFT)
    right.tick_params(length=3, color=_LINE)
    right.spines["right"].set_visible(False)
