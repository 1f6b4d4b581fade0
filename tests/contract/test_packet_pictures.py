"""Pictures of packet runs: what is drawn stands at the height and time it belongs to, in a file that a reader opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.network.packet.counts import PauseLog
from zcube.report.congestion_tree import congestion_trees
from zcube.report.packet_ports import PortHistory, plot_port_history
from zcube.report.packet_tree_picture import DRAWN_PORTS, DRAWN_TREES, plot_congestion_trees
from zcube.report.picture import save

TEXT = "{http://www.w3.org/2000/svg}text"
HOSTILE = ["$\\frac{x}$", "_hidden", "<script>&amp;", "a\nb\x1b[31m\u202e", "x" * 5000, " "]


def history(depth: Any, paused: Any, names: Any = None, **columns: Any) -> PortHistory:
    """Bins of 1 us from 0; depths and paused times as [bins, ports]."""
    depth, paused = np.array(depth, dtype=float), np.array(paused, dtype=float)
    ports = depth.shape[1]
    nodes = tuple(names or [f"n{port}" for port in range(ports)])
    nan = np.full(ports, np.nan)
    given = {
        "priority": np.full(ports, -1),
        "in_host": np.zeros(ports, dtype=bool),
        "pauses": (paused > 0).sum(axis=0),
        "total_paused_s": paused.sum(axis=0),
        "peak_bytes": depth.max(axis=0, initial=0),
        "kmin_bytes": nan,
        "kmax_bytes": nan,
        "xoff_bytes": nan,
        **columns,
    }
    return PortHistory(nodes, nodes[::-1], begin_s=0.0, bin_s=1e-6, depth_bytes=depth, paused_s=paused, **given)


def svg_text(path: Path) -> str:
    return "\n".join("".join(one.itertext()) for one in ElementTree.parse(path).iter(TEXT))


def test_depths_pauses_and_thresholds_stand_where_they_belong() -> None:
    depth = [[0, 4e6], [1e6, 4e6], [4e6, 4e6], [4e6, 0]]
    paused_s = [[0, 0], [0, 0.25e-6], [0, 1e-6], [0, 0]]
    limits = {"kmin_bytes": np.array([1e6, 1e6]), "kmax_bytes": np.array([64e6, 64e6])}
    axes = plot_port_history(history(depth, paused_s, **limits)).axes[0]
    stairs = [patch.get_data() for patch in axes.patches]
    full = max(float(np.max(step.values - step.baseline)) for step in stairs)
    above = [step for step in stairs if np.max(step.values - step.baseline) > 0]
    under = [step for step in stairs if np.min(step.values - step.baseline) < 0]
    # On the square-root scale a quarter of the depth is half as high.
    np.testing.assert_allclose([step.values - step.baseline for step in above], full * np.array([[0, 0.5, 1, 1], [1, 1, 1, 0]]))
    (pauses,) = under
    height = pauses.baseline - pauses.values
    assert height.tolist() == pytest.approx([0, height.max() / 4, height.max(), 0])
    assert -1.5 < pauses.values.min() < pauses.baseline < -1
    lines = [segment for group in axes.collections for segment in group.get_segments()]
    heights = {round(float(line[0][1]), 6) for line in lines if line[0][1] == line[1][1]}
    assert {round(row + full / 2, 6) for row in (0, -1)} <= heights
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "KMIN: 1 MB" in labels
    assert "KMAX: 64 MB, beyond the scale" in labels
    assert axes.get_xlabel().startswith("time (us)") and axes.get_xlim() == pytest.approx((0, 4))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "n0>n1\ndeepest 4 MB, never paused",
        "n1>n0\ndeepest 4 MB, 1.25 us in 2 pauses",
    ]


def test_a_run_without_queues_gives_a_picture_that_says_so(tmp_path: Path) -> None:
    save(plot_port_history(history(np.zeros((0, 0)), np.zeros((0, 0)))), tmp_path / "a.svg")
    assert "No queue and no pause" in svg_text(tmp_path / "a.svg")
    save(plot_congestion_trees(()), tmp_path / "b.svg")
    assert "No port was paused." in svg_text(tmp_path / "b.svg")


def test_names_from_outside_are_drawn_as_text(tmp_path: Path) -> None:
    from matplotlib.image import imread

    ports = len(HOSTILE)
    drawn = history(np.full((3, ports), 5.0), np.full((3, ports), 1e-7), HOSTILE)
    save(plot_port_history(drawn, under="$\\frac{"), tmp_path / "a.svg")
    save(plot_port_history(drawn), tmp_path / "a.png")
    link = np.arange(1, ports)
    log = PauseLog(link * 0.0, link * 1.0, link, link * 0, link * 0, link * 0, 0)
    trees = congestion_trees(log, HOSTILE, HOSTILE[::-1])
    save(plot_congestion_trees(trees, under="_x"), tmp_path / "b.svg")
    save(plot_congestion_trees(trees), tmp_path / "b.png")
    for name in ("a", "b"):
        text = svg_text(tmp_path / f"{name}.svg")
        assert "$\\frac{x}$" in text and "<script>&amp;" in text and "a?b?[31m?" in text
        assert "x" * 30 not in text
        assert max(imread(tmp_path / f"{name}.png").shape) < 3000


def test_trees_are_drawn_from_left_to_right_and_what_is_left_out_is_counted() -> None:
    children = DRAWN_PORTS + 10
    rows = [(link, 0, 0, 100.0 - link) for link in range(1, children)]
    rows += [(children, 1, 0, 200.0)]
    rows += [(200 + root, 300 + root, 300 + root, 1.0) for root in range(DRAWN_TREES)]
    link, cause, root, taken_s = (np.array(column) for column in zip(*rows))
    log = PauseLog(taken_s * 0, taken_s, link, link * 0, cause, root, 0)
    names = [str(number) for number in range(400)]
    figure = plot_congestion_trees(congestion_trees(log, names, names, 99))
    texts = {text.get_text().split("\n")[0]: text for text in figure.axes[0].texts}
    place = {name: text.get_position() for name, text in texts.items()}
    assert place["0>0"][0] < place["1>1"][0] == place["2>2"][0] < place[f"{children}>{children}"][0]
    # The root and DRAWN_PORTS - 1 others are drawn; the rest is one entry beside those that the root paused.
    assert place[f"{children - DRAWN_PORTS + 1} more"][0] == place["1>1"][0]
    ys = [place[name][1] for name in place if place[name][0] == place["1>1"][0] and (">" in name or "more" in name)]
    assert len(ys) == len(set(ys))
    assert min(abs(a - b) for a in ys for b in ys if a != b) > 0.35
    assert "1 further tree not drawn" in figure.get_supxlabel()


def test_a_picture_is_written_twice_the_same_and_only_as_png_or_svg(tmp_path: Path) -> None:
    drawn = history([[1.0], [2.0]], [[0.0], [5e-7]])
    for name in ("a.svg", "b.svg"):
        save(plot_port_history(drawn), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    for plot, what in ((plot_port_history, drawn), (plot_congestion_trees, ())):
        with pytest.raises(InputError, match=r"\.svg or \.png"):
            save(plot(what), tmp_path / "a.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]
