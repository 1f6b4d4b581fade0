"""Load over time and topology: what readers pick is what the tables say, with a pointer and with keys."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.xdist_group("browser")

FABRICS = ("roft-256", "zcube-256")


def shown(page: Any, figure: str) -> float:
    return float(page.get_attribute(f"[data-told] [data-figure={figure}] data", "value"))


def choose(page: Any, number: int) -> None:
    page.select_option("[data-fabric]", str(number))
    page.wait_for_selector(f'[data-topology][data-shown="{number}"]')


@pytest.mark.parametrize("number", range(len(FABRICS)))
def test_a_line_says_what_the_json_says_of_its_link(compared: Path, opened: Any, number: int) -> None:
    fabric = json.loads((compared / "summary.json").read_text())["fabrics"][FABRICS[number]]
    between = [link for link in fabric["congestion"]["hot_links"] if "g" not in link["from"] + link["to"]]
    hottest, links = fabric["congestion"]["hot_links"][0], pd.read_parquet(compared / f"links-{FABRICS[number]}.parquet")
    with opened(compared / "report.html") as found:
        page = found.page
        choose(page, number)
        page.click(f"[data-told] [data-link='{hottest['link']}']")
        assert page.inner_text("[data-told] h3") == f"{hottest['from']} > {hottest['to']}"
        assert {key: shown(page, key) for key in ("utilisation", "bytes", "peak_flows")} == {
            key: hottest[key] for key in ("utilisation", "bytes", "peak_flows")
        }
        # A line between two switches, clicked where it is drawn.
        edge = page.locator("[data-view] .hit").last
        edge.dispatch_event("click", {"bubbles": True})
        while page.query_selector("[data-told] [data-link]"):
            page.locator("[data-told] [data-link]").first.click()
        row = links.set_index("link").loc[int(page.get_attribute("[data-told] dd data", "value"))]
        assert page.inner_text("[data-told] h3") == f"{row['from']} > {row['to']}"
        assert shown(page, "bytes") == row["bytes"]
        assert shown(page, "utilisation") == row["utilisation"]
    assert between or number == 0


def test_a_switch_and_a_server_say_what_their_links_carried(compared: Path, opened: Any) -> None:
    links = pd.read_parquet(compared / "links-zcube-256.parquet")
    with opened(compared / "report.html") as found:
        page = found.page
        choose(page, 1)
        for name, of in (("B0", links["from"] == "B0"), ("s3", links["from"].str.startswith("s3g") & (links["kind"] == "nic"))):
            page.fill("[data-find]", name)
            page.press("[data-find]", "Enter")
            assert page.inner_text("[data-told] h3") == name
            assert shown(page, "out_bytes") == pytest.approx(links.loc[of, "bytes"].sum(), rel=1e-12)
        page.fill("[data-find]", "s999")
        page.press("[data-find]", "Enter")
        assert "s999" in page.inner_text("[data-found]")


def test_the_slider_moves_everything_to_a_time(compared: Path, opened: Any) -> None:
    load = pd.read_parquet(compared / "load-roft-256.parquet")
    switches = load[load["of"] == "switch"]
    starts = sorted(switches["bin_start_s"].unique())
    row = switches.loc[switches["utilisation"].idxmax()]
    place = starts.index(row["bin_start_s"])
    with opened(compared / "report.html") as found:
        page = found.page
        page.focus("[data-slider]")
        before = page.evaluate("document.querySelector('[data-view]').innerHTML")
        page.evaluate(
            "place => { const one = document.querySelector('[data-slider]'); one.value = place; "
            "one.dispatchEvent(new Event('input')); }",
            place - 1,
        )
        page.keyboard.press("ArrowRight")
        page.wait_for_function("before => document.querySelector('[data-view]').innerHTML !== before", arg=before)
        page.fill("[data-find]", row["name"])
        page.press("[data-find]", "Enter")
        assert shown(page, "switch_bin") == pytest.approx(row["utilisation"], rel=1e-6)
        page.select_option("[data-measure]", "switch")
        number = list(switches["name"].unique()).index(row["name"])
        cell = float(page.get_attribute(f"[data-strips] [data-now='{number}'] data", "value"))
        assert cell == pytest.approx(row["utilisation"], rel=1e-6)
        assert page.get_attribute("[data-slider]", "aria-valuetext").startswith(f"{row['bin_start_s']:.6g}"[:4])


def test_a_click_on_a_strip_moves_the_slider(compared: Path, opened: Any) -> None:
    with opened(compared / "report.html") as found:
        page = found.page
        bins = int(page.get_attribute("[data-slider]", "max")) + 1
        strip = page.locator("[data-strips] canvas").first
        strip.click(position={"x": strip.bounding_box()["width"] / 2, "y": 4})
        assert abs(int(page.input_value("[data-slider]")) - bins / 2) <= 1


def test_keys_alone_lead_to_a_switch_a_server_and_back(compared: Path, opened: Any) -> None:
    with opened(compared / "report.html") as found:
        page = found.page

        def focused() -> str:
            return str(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))

        page.focus("[data-find]")
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.classList.contains('node')"):
                break
        assert focused().startswith("leaf0")
        page.keyboard.press("ArrowRight")
        assert focused().startswith("leaf1")
        page.keyboard.press("Enter")
        assert page.inner_text("[data-told] h3") == "leaf1"
        page.keyboard.press("ArrowUp")
        page.keyboard.press(" ")
        assert page.inner_text("[data-told] h3").startswith("spine")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert "put together" in focused()
        page.keyboard.press("Enter")
        servers = page.locator("[data-view] .node[aria-label^='s0,'], [data-view] .node[aria-label='s0']")
        assert servers.count() == 1
        page.keyboard.press("Enter")
        assert page.inner_text("[data-told] h3") == "s0"
        page.keyboard.press("Escape")
        assert "put together" in focused()
        # The way of the Tab key goes on behind the picture.
        page.keyboard.press("Tab")
        assert not page.evaluate("document.activeElement.classList.contains('node')")


def test_a_narrow_page_scrolls_the_picture_inside_its_own_box(compared: Path, opened: Any) -> None:
    with opened(compared / "report.html", 390, "dark") as found:
        page = found.page
        inside, outside = (
            page.evaluate(f"(({{scrollWidth, clientWidth}}) => [scrollWidth, clientWidth])({of})")
            for of in ("document.querySelector('[data-view]')", "document.documentElement")
        )
        assert inside[0] > inside[1] and outside[0] == outside[1] == 390
        page.click("[data-zoom='1.4']")
        assert page.evaluate("document.querySelector('[data-view]').scrollWidth") > inside[0]
        page.click("[data-zoom='0']")
        assert page.evaluate("document.querySelector('[data-view]').scrollWidth") <= inside[1] + 1


def test_the_theme_button_paints_anew(compared: Path, opened: Any) -> None:
    with opened(compared / "report.html") as found:
        page = found.page
        fill = "document.querySelector('.node rect').style.fill"
        light = page.evaluate(fill)
        page.click("[data-theme-switch]")
        page.click("[data-theme-switch]")
        page.wait_for_function(f"light => {fill} !== light", arg=light)


def test_what_is_printed_from_a_dark_page_is_painted_light(compared: Path, opened: Any) -> None:
    fills = "[...document.querySelectorAll('.node rect')].map((one) => one.style.fill)"
    with opened(compared / "report.html") as light, opened(compared / "report.html", scheme="dark") as dark:
        wanted, page = light.page.evaluate(fills), dark.page
        before = page.evaluate(fills)
        assert before != wanted
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(fills) == wanted
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(fills) == before
        page.emulate_media(media="print")
        page.wait_for_function(f"wanted => JSON.stringify({fills}) === wanted", arg=json.dumps(wanted, separators=(",", ":")))
        # The list of links stays as text; what only a hand can work does not.
        assert page.is_visible("[data-told] [data-link]")
        assert not any(page.is_visible(f"[data-{one}]") for one in ("slider", "find", "measure", "fabric"))
        assert page.inner_text("[data-paper]") == "roft-256; switches show their fullest link."


def test_the_side_panel_says_which_time_its_loads_are_of(compared: Path, opened: Any) -> None:
    kept = pd.read_parquet(compared / "load-roft-256.parquet")
    count = kept.loc[kept["of"] == "link", "link"].nunique()
    with opened(compared / "report.html") as found:
        page = found.page
        page.fill("[data-find]", "leaf7")
        page.press("[data-find]", "Enter")
        assert "Load out, of line rate, whole window" in page.inner_text("[data-told]")
        assert "Fullest links that leave, whole window:" in page.inner_text("[data-told]")
        page.focus("[data-slider]")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("what => document.querySelector('[data-told]').innerText.includes(what)", arg="at the slider, ")
        told = page.inner_text("[data-told]")
        listed = [line.strip() for line in page.locator("[data-told] [data-link] span:last-child").all_inner_texts()]
        assert "-" in listed and f"-: not among the {count} fullest links kept by time" in told


def test_many_lines_are_left_out_of_no_pair_of_rows(pages: Any, opened: Any) -> None:
    with opened(pages("crowded")) as found:
        page = found.page
        names = page.locator("[data-view] .hit title").all_text_contents()
        servers = [name for name in names if name.startswith("s")]
        assert 0.3 * len(names) < len(servers) < 0.7 * len(names)
        assert page.inner_text("[data-lines]") == f"{len(names):,} of 8,256 lines are drawn."
        # 64 blocks to a switch of A each, and to all 64 of B, and these to all of A.
        # Names in neighbouring boxes do not run into each other.
        boxes = page.evaluate(
            "[...document.querySelectorAll('[data-view] .node')].map((one) => one.querySelector('text')).filter(Boolean)"
            ".map((one) => one.getBoundingClientRect()).map(({ left, right, top }) => [Math.round(top), left, right])"
        )
        boxes.sort()
        assert len(boxes) == 192
        assert all(one[2] <= other[1] + 0.5 for one, other in pairwise(boxes) if one[0] == other[0])
