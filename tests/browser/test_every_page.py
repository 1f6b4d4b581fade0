"""Every kind of page at a phone's and a desktop's width, light and dark: no complaint, no request, no overflow, accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import zcube.report

pytestmark = pytest.mark.xdist_group("browser")

WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
#: Kinds of pages, and where axe looks at them; it takes longer than all else.
AXE = {
    "compare": ((390, "dark"), (1280, "light")),
    "matrix": ((1280, "dark"),),
    "plan": ((1280, "light"),),
    "fabric": ((1280, "light"),),
    "replay": ((1280, "dark"),),
    "standing": ((390, "dark"),),
    "sweep": ((390, "light"),),
}
#: Whether the page's own background is dark.
DARK = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((channel) => channel < 90)"
#: How bad findings of axe are that no page may have.
BAD = ("serious", "critical")


def findings(page: Any) -> list[str]:
    """Return what axe finds that is bad, with where it is."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: pip install 'zcube[test]'")
    result = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in result.response["violations"]
        if one["impact"] in BAD
    ]


@pytest.mark.parametrize("kind", list(AXE))
def test_a_page_is_fit_for_its_readers(kind: str, pages: Any, opened: Any) -> None:
    path: Path = pages(kind)
    with opened(path, WIDTHS[0], SCHEMES[0]) as found:
        page = found.page
        page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert page.evaluate("document.documentElement.scrollWidth") == width
                assert page.evaluate(DARK) is (scheme == "dark")
                if (width, scheme) in AXE[kind]:
                    assert findings(page) == []


def test_a_sweep_draws_what_is_chosen_and_says_what_the_table_says(pages: Any, opened: Any) -> None:
    path = pages("sweep")
    frame = pd.read_parquet(path.with_name("points.parquet"))
    with opened(path) as found:
        page = found.page
        page.select_option("#sweep-x", label="network.nic_gbps")
        page.select_option("#sweep-y", label="kv_transfer_s.mean")
        marks = page.locator("#sweep-drawn circle[role=img]")
        assert marks.count() == 8 and "kv_transfer_s.mean" in page.locator("#sweep-drawn svg").get_attribute("aria-label")
        marks.first.focus()
        for _ in range(7):
            page.keyboard.press("ArrowRight")
        told = page.locator("#sweep-told").inner_text()
        last = frame[(frame["point"] == 3) & (frame["fabric"] == "zcube-32")]["kv_transfer_s.mean"].mean()
        assert told.startswith("zcube-32, point 3") and f"kv_transfer_s.mean {last:.4g}" in told
        page.keyboard.press("ArrowRight")
        assert page.locator("#sweep-told").inner_text().startswith("roft-32, point 0")


def test_a_sweeps_axes_have_units_and_no_negative_times_and_its_pictures_fit(pages: Any, opened: Any) -> None:
    with opened(pages("sweep")) as found:
        page = found.page
        page.set_viewport_size({"width": 1280, "height": 900})
        page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        page.select_option("#sweep-x", label="network.nic_gbps")
        page.select_option("#sweep-y", label="ttft_s.p99")
        texts = page.locator("#sweep-drawn text").all_text_contents()
        assert "TTFT P99 (s)" in texts and "network.nic_gbps (Gb/s)" in texts
        assert not any(text.startswith(("-", "\u2212")) for text in texts) and "0" in texts
        assert page.evaluate("[...document.querySelectorAll('.picture')].every((one) => one.scrollWidth <= one.clientWidth)")


def test_tables_sort_by_any_column(pages: Any, opened: Any) -> None:
    with opened(pages("compare")) as found:
        page = found.page
        table = page.locator("table:has(th button.sort)").first
        table.evaluate("one => { for (let at = one; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true; }")
        button = table.locator("th button.sort").first
        texts = "one => [...one.tBodies[0].rows].map((row) => row.cells[0].innerText.trim())"
        button.click()
        first = table.evaluate(texts)
        button.click()
        assert table.evaluate(texts) == first[::-1] and len(first) > 1
        assert table.locator("th").first.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("kind", ["compare", "plan"])
def test_the_tab_key_leads_through_the_page_and_out_of_it(kind: str, pages: Any, opened: Any) -> None:
    with opened(pages(kind)) as found:
        page, stops = found.page, []
        for _ in range(400):
            page.keyboard.press("Tab")
            stop = page.evaluate(
                "(() => { const one = document.activeElement; if (one === document.body) return null; "
                "if (one.dataset.stop) return 'again'; one.dataset.stop = '1'; "
                "const box = one.getBoundingClientRect(); return [box.width, box.height]; })()"
            )
            if stop in (None, "again"):
                break
            stops.append(stop)
        # The first stop is the link that skips to the content; none is without size, and the way has an end.
        assert 5 < len(stops) < 400
        assert all(min(stop) > 0 for stop in stops)


def saved(page: Any, label: str) -> pd.DataFrame:
    """Return a table as a page saves it."""
    page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
    with page.expect_download() as told:
        page.click(f"button.csv[aria-label='Save as CSV: {label}']")
    return pd.read_csv(told.value.path())


def test_a_matrix_saves_values_and_intervals_as_numbers(pages: Any, opened: Any) -> None:
    with opened(pages("matrix")) as found:
        title = "Change against roft-32 under the same transport"
        changes, figures = saved(found.page, title), saved(found.page, "All figures")
        shown = found.page.locator(f"[aria-label='{title}'] tbody tr:last-child td").first.inner_text()
    row = changes.iloc[-1]
    percent, low, high = (float(row[f"ecmp+dcqcn{part} (%)"]) for part in ("", ", low", ", high"))
    assert [text.strip() for text in shown.split("\n") if text.strip()] == [f"{percent:+.1f} %", f"{low:+.0f} to {high:+.0f} %"]
    assert pd.api.types.is_numeric_dtype(figures["ecmp+dcqcn, half of the interval"])
    assert pd.api.types.is_numeric_dtype(figures["ecmp+dcqcn"])


def test_tables_are_saved_in_the_units_of_their_heads(pages: Any, opened: Any) -> None:
    with opened(pages("compare")) as found:
        strips = saved(found.page, "Load of switches over time")
        window = found.page.locator("[data-strips] td.further data")
        values = [float(text) for text in window.evaluate_all("all => all.map((one) => one.value)")]
    assert list(strips) == ["Switch", "Window, %", "At the slider, %"]
    assert list(strips["Window, %"]) == pytest.approx([100 * value for value in values], abs=0.0501)
    with opened(pages("plan")) as found:
        measures, bills = saved(found.page, "Measures"), saved(found.page, "Bills")
    name = list(measures)[2]
    capital = measures.set_index("Measure").loc["Capital", name]
    lines = bills.set_index("Position")
    totals = lines.filter(like=", USD", axis=0)
    assert float(capital) in list(totals[f"{name}, USD"]) and totals[name].isna().all()
    switches = lines.filter(regex="^switch ", axis=0).dropna(subset=[name])
    assert list(switches[name] * switches["USD each"].astype(float)) == list(switches[f"{name}, USD"])


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-cmd", "'-cmd"),
        ("+85.8 %", "85.8"),
        ("-1,234.5", "-1234.5"),
        ("-", "-"),
        ("leaf0, rail 1", '"leaf0, rail 1"'),
    ],
)
def test_only_texts_are_kept_from_being_formulas(shown: str, wanted: str, browser: Any) -> None:
    page = browser.new_page()
    page.set_content("<div class=wide aria-label=One><table><tbody><tr><td></td></tr></tbody></table></div>")
    page.evaluate("text => { document.querySelector('td').textContent = text; }", shown)
    page.add_script_tag(path=str(Path(zcube.report.__file__).with_name("templates") / "csv.js"))
    with page.expect_download() as told:
        page.click("button.csv")
    assert told.value.path().read_text() == f"{wanted}\n"
    page.close()


def test_headline_figures_fit_a_phone(pages: Any, opened: Any) -> None:
    with opened(pages("compare"), 390) as found:
        sides = found.page.locator("table.stacked td.number").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect()).map(({ left, right }) => [left, right])"
        )
    assert sides and all(0 <= left < right <= 390 for left, right in sides)
