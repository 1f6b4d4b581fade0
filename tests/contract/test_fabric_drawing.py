"""Pictures of fabrics, read back as XML and as pixels."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.fabric.model import Fabric
from zcube.report.fabric_drawing import draw_fabric
from zcube.report.fabric_layout import MOST_BOXES, lay_out
from zcube.report.palette import FAMILY_COLOURS, PURPLE
from zcube.report.picture import save

TEXT = "{http://www.w3.org/2000/svg}text"


def texts(fabric: Fabric, folder: Path) -> str:
    path = folder / "fabric.svg"
    save(draw_fabric(fabric), path)
    return "\n".join("".join(element.itertext()) for element in ElementTree.parse(path).iter(TEXT))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "zcube-1024",
            [
                "1,024 GPUs of 400G, 128 servers, 32 switches",
                "A: 16 x 25.6T (64 x 400G)",
                "B: 16 x 25.6T (64 x 400G)",
                "A-B: 4 x 200G per pair, 1,024 in all",
                "NIC port 0 to A: 1,024 x 200G",
                "NIC port 1 to B: 1,024 x 200G",
                "8 servers",
                "x4",
            ],
        ),
        (
            "roft-1024",
            ["leaf: 32 x 25.6T (64 x 400G)", "spine: 16 x 25.6T (64 x 400G)", "leaf-spine: 2 x 400G per pair, 1,024 in all"],
        ),
        ("roft-16384", ["core: 128 x 51.2T (128 x 400G)", "spine-core: 32 x 400G per pair, 16,384 in all", "113 more"]),
        ("zcube-n32", ["A: 32 x 12.8T (32 x 400G)", "A-B: 1 x 200G per pair, 1,024 in all", "17 more"]),
    ],
)
def test_an_svg_holds_the_counts_as_text(name: str, expected: list[str], tmp_path: Path) -> None:
    found = texts(load_fabric(name), tmp_path)
    assert [line for line in expected if line not in found] == []


@pytest.mark.parametrize("name", ["zcube-1024", "zcube-n32", "roft-1024"])
def test_1024_gpus_draw_fast_and_small(name: str, tmp_path: Path) -> None:
    fabric, path = load_fabric(name), tmp_path / "fabric.svg"
    start = time.perf_counter()
    save(draw_fabric(fabric), path)
    assert time.perf_counter() - start < 5
    assert path.stat().st_size < 3e6


def test_equal_fabrics_give_equal_files(tmp_path: Path) -> None:
    save(draw_fabric(load_fabric("zcube-n16")), tmp_path / "a.svg")
    save(draw_fabric(load_fabric("zcube-n16")), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_png_shows_the_colour_of_the_family(tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    save(draw_fabric(load_fabric("zcube-n16")), tmp_path / "fabric.png")
    pixels = imread(tmp_path / "fabric.png")[:, :, :3]
    assert (np.abs(pixels - to_rgb(FAMILY_COLOURS["zcube"])).max(axis=2) < 0.02).sum() > 100


def test_failures_are_drawn_in_their_colour_and_counted(tmp_path: Path) -> None:
    whole, path = load_fabric("zcube-1024"), tmp_path / "fabric.svg"
    save(draw_fabric(whole), path)
    assert PURPLE.lower() not in path.read_text().lower()
    # One of the four parallel cables of a pair, and a switch: 64 GPUs and 4 cables to each of 16 switches.
    found = texts(with_failures(whole, ["link:A0-B5#0", "switch:A3"]), tmp_path)
    assert f"{1 + 64 + 64} cables failed" in found
    assert "1 of 4 down" in found
    assert PURPLE.lower() in path.read_text().lower()


def test_a_failed_second_nic_port_marks_its_tap(tmp_path: Path) -> None:
    path = tmp_path / "fabric.svg"
    save(draw_fabric(with_failures(load_fabric("zcube-n16"), ["nic:s0g0/1"])), path)
    assert PURPLE.lower() in path.read_text().lower()


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-n128", "roft-256", "roft-16384"])
def test_every_node_has_a_box_and_no_row_too_many(name: str) -> None:
    fabric = load_fabric(name)
    layout = lay_out(fabric)
    assert layout.box_of_node.min() >= 0
    rows = np.array([box.row for box in layout.boxes])
    assert np.bincount(rows).max() <= MOST_BOXES
    assert sum(len(nodes) for row in layout.rows for _, nodes in row) == fabric.switches
    for row in set(rows.tolist()):
        beside = sorted((box.x, box.width) for box in layout.boxes if box.row == row)
        assert all(a + wa / 2 <= b - wb / 2 + 1e-9 for (a, wa), (b, wb) in pairwise(beside))


def test_a_family_nobody_knows_is_drawn_by_distance(tmp_path: Path) -> None:
    from dataclasses import replace

    strange = replace(load_fabric("roft-16384"), family="home-made", name="<b>&$x$_")
    found = texts(strange, tmp_path)
    assert "<b>&$x$_" in found.replace("\\", "")
    rows = lay_out(strange).rows
    assert [[role for role, _ in row] for row in rows] == [["leaf"], ["spine"], ["core"]]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        save(draw_fabric(load_fabric("zcube-n16")), tmp_path / "fabric.pdf")
