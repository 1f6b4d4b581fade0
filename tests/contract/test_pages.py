"""Pages of replay, fabric show and calibrate fit: the figures of their documents, in a frame that runs only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from zcube.report.inline_svg import inline_svg
from zcube.report.page import render_page
from zcube.report.palette import COLOURS, LOAD
from zcube.report.picture import save_both, svg_bytes, title
from zcube.report.results import Results
from zcube.report.searches_plot import search_cells, search_draws

VOID = {"meta", "br", "wbr", "img", "input"}
#: Linear RGB as eyes without one kind of cone see it: Machado, Oliveira and Fernandes 2009, severity 1.
WITHOUT = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


class Page(HTMLParser):
    """Refuses tags that do not close in order; keeps attributes, headings and cells."""

    def __init__(self, text: str):
        super().__init__()
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.stack) and self.cells:
            self.cells[-1][-1] += data


def checked(text: str) -> Page:
    """Return a page that fetches nothing and runs only what its policy names."""
    page = Page(text)
    (policy,) = (value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        for found in re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL):
            assert f"'sha256-{base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()}'" in policy
    assert not any(name == "style" or name.startswith("on") for _, name, _ in page.attributes)
    links = [value for _, name, value in page.attributes if name in ("href", "src")]
    assert all(value.startswith(("#", "data:image/png")) for value in links)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert [value for tag, name, value in page.attributes if (tag, name) == ("html", "lang")] == ["en"]
    named = [value for _, name, value in page.attributes if name == "aria-label"]
    assert all(named) and text.count("<main") == text.count("<h1>") == 1
    return page


def test_the_page_of_a_fabric_has_its_counts(run: Any, tmp_path: Path) -> None:
    status, out, err = run("fabric", "show", "zcube-256", "--json", "--page", tmp_path / "fabric.html")
    assert status == 0, err
    document, page = json.loads(out), checked((tmp_path / "fabric.html").read_text())
    rows = {cells[0]: cells[1] for cells in page.cells if len(cells) == 2}
    assert rows["switches"] == str(document["switches"]) and rows["switch links"] == str(document["switch_links"])


def test_the_page_of_a_replay_has_the_fullest_links(run: Any, tmp_path: Path) -> None:
    (tmp_path / "flows.csv").write_text("src,dst,bytes,start_s\ns0g0,s5g0,1000000,0\ns1g0,s5g0,2000000,0\n")
    options = ("--fabric", "roft-256", "--json", "--page", tmp_path / "replay.html")
    status, out, err = run("replay", tmp_path / "flows.csv", *options)
    assert status == 0, err
    document, page = json.loads(out), checked((tmp_path / "replay.html").read_text())
    head = page.cells.index(["From", "To", "Utilisation (%)", "Paths at once"])
    rows = page.cells[head + 1 : head + 1 + len(document["hot_links"])]
    assert [(cells[0], cells[1], cells[3]) for cells in rows] == [
        (link["from"], link["to"], f"{link['peak_flows']:,}") for link in document["hot_links"]
    ]


def test_the_page_of_a_calibration_has_its_errors(run: Any, tmp_path: Path) -> None:
    measured = Path(__file__).parents[2] / "calibrations" / "2x-h200-nvlink.json"
    options = ("--draws", "5", "--json", "--out", tmp_path / "fit.json", "--page", tmp_path / "fit.html")
    status, out, err = run("calibrate", "fit", measured, *options)
    assert status == 0, err
    held_out, page = json.loads(out)["held_out"], checked((tmp_path / "fit.html").read_text())
    rows = {cells[0]: cells for cells in page.cells if len(cells) == 5}
    for operation, error in {**held_out["by_operation"], "all": held_out["total"]}.items():
        assert rows[operation][1:3] == [f"{error['points']:,}", f"{error['mape']:.1%}"]


def test_a_page_is_not_written_over_other_files(run: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    status, _, err = run("fabric", "show", "zcube-256", "--page", tmp_path / "notes.txt")
    assert status == 2 and "--page" in err and (tmp_path / "notes.txt").read_text() == "mine"


def test_data_of_a_section_cannot_end_its_element() -> None:
    hostile = "</script><script>alert(1)</script>"
    fields: dict[str, Any] = {"title": "T", "lead": [hostile], "blocks": [], "call": "", "version": "0"}
    text = render_page("article.html.j2", data={"part-data": {"name": hostile}}, **fields)
    checked(text)
    (data,) = re.findall(r'<script type="application/json" id="part-data">(.*?)</script>', text, flags=re.DOTALL)
    assert json.loads(data) == {"name": hostile}


def test_a_picture_on_a_page_follows_the_theme_and_repeats_no_title() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=COLOURS[0])
    axes.set_xlabel("across <b>")
    title(figure, "What it shows", "under which conditions")
    drawn = svg_bytes(figure)
    text = inline_svg(drawn, "one", "a label")
    assert "What it shows" in drawn.decode() and "What it shows" not in text and "under which conditions" not in text
    assert 'fill="var(--ink)"' in text and COLOURS[0].lower() in text.lower() and "style=" not in text
    assert "across &lt;b&gt;" in text and 'role="img"' in text and 'aria-label="a label"' in text
    before, after = (float(re.search(r'viewBox="[\d.]+ [\d.]+ [\d.]+ ([\d.]+)"', one)[1]) for one in (drawn.decode(), text))
    assert after < before - 20
    ids = set(re.findall(r' id="([^"]*)"', text))
    assert set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text)) and all(one.startswith("one-") for one in ids)


def test_a_picture_saved_as_both_is_laid_out_once_and_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    def figure() -> Figure:
        made = Figure(figsize=(4, 3), layout="constrained")
        made.subplots().plot([0, 1], [0, 1])
        return made

    alone, draws, draw = svg_bytes(figure()), [], Figure.draw
    layouts, lay_out = [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: draws.append(self.get_layout_engine()) or draw(self, renderer))
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, made: layouts.append(made) or lay_out(self, made))
    assert save_both(figure(), tmp_path, "one") == alone == (tmp_path / "one.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert draws == [None, None] and len(layouts) == 1


def test_a_picture_is_the_same_whatever_resolution_figures_have_by_a_users_settings() -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    def drawn_at(dpi: float) -> bytes:
        with rc_context({"figure.dpi": dpi}):
            figure = Figure(figsize=(4, 3), layout="constrained")
            figure.subplots().set_ylabel("a label")
            figure.supxlabel("conditions of two\nlines", fontsize=8)
            return svg_bytes(figure)

    assert drawn_at(72) == drawn_at(100) == drawn_at(300)


def linear(colour: str) -> list[float]:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB under D65."""
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(share * min(1.0, max(0.0, value)) for share, value in zip(row, rgb, strict=True)) for row in rows]
    x, y, z = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in (part / white for part, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("kind", WITHOUT)
def test_fabrics_are_told_apart_without_one_kind_of_cone(kind: str) -> None:
    """Every two colours are at least 9 apart in CIE76; 2.3 is just seen, and curves differ by dashes too."""
    seen = [lab([sum(a * b for a, b in zip(row, linear(one), strict=True)) for row in WITHOUT[kind]]) for one in COLOURS]
    apart = [
        sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for at, one in enumerate(seen) for other in seen[:at]
    ]
    assert min(apart) > 9


@pytest.mark.parametrize("paper", ["#ffffff", "#161616"])
def test_the_first_fabrics_stand_out_of_both_papers(paper: str) -> None:
    """WCAG 2.2 asks 3 : 1 of graphics; the two fabrics of every comparison, and the third."""

    def luminance(colour: str) -> float:
        return sum(share * value for share, value in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))

    for colour in COLOURS[:3]:
        low, high = sorted((luminance(colour), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_links_are_as_full_in_every_picture() -> None:
    """Pictures for papers and the page to explore have one scale of colours."""
    style = (files("zcube.report") / "templates" / "topology.css").read_text()
    steps = dict(re.findall(r"--heat-(\d): light-dark\((#\w{6}),", style))
    assert tuple(steps[str(number)] for number in range(len(LOAD))) == LOAD
    lightness = [lab(linear(colour))[0] for colour in LOAD]
    assert all(fuller < emptier - 8 for emptier, fuller in pairwise(lightness))


def test_searches_over_loads_are_drawn_and_told() -> None:
    """The points of the picture and the rows of the table are the runs of the search, by load."""
    runs = [
        {"load": 8.0, "ttft_p99_s": None, "ideal_ttft_p99_s": 3.0},
        {"load": 4.0, "ttft_p99_s": 2.5, "ideal_ttft_p99_s": 2.0},
    ]
    capacity = [{"load": 6.0, "share": 0.4}, {"load": 2.0, "share": 0.99}]
    document = {
        "fabrics": {"a": {"family": "zcube", "network": {"fidelity": "flow", "nic_gbps": None}}},
        "requests": {"requests": 9, "duration_s": 3.0},
        "compute": {"model": "m"},
        "seed": 0,
        "knee": {"unit": "requests/s", "fabrics": {"a": {"holds": 4.0, "runs": runs}}},
        "capacity": {"unit": "requests/s", "share": 0.9, "fabrics": {"a": {"load": None, "runs": capacity}}},
    }
    figures = {name: draw() for name, draw in search_draws(Results(document, {"load": {"mode": "open"}}, {}, {}, {})).items()}
    knee, levels = (figures[name].axes[0].lines for name in ("knee", "capacity"))
    assert [list(map(float, line.get_xdata())) for line in knee] == [[4.0], [4.0, 8.0], [4.0, 4.0]]
    assert list(levels[0].get_xdata()) == [2.0, 6.0] and list(levels[0].get_ydata()) == pytest.approx([99.0, 40.0])
    assert all(figure.axes[0].get_xlim()[0] == figure.axes[0].get_ylim()[0] == 0 for figure in figures.values())
    assert search_cells(document["knee"], "knee", {"a": "A"})[1:] == [["A", "4.000", "2.500"], ["A", "8.000", "-"]]
