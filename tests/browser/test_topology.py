"""Load over time and topology: what readers pick is what the tables say, with a pointer and with keys."""

from __future__ import annotations

import json
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
