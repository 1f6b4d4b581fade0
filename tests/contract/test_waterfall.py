"""The picture and the table of what first tokens waited for: every part that a run names, one look a part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from matplotlib.colors import to_hex

import zcube as zc
from zcube.report.html import render_html
from zcube.report.part_colours import LOOKS, looks_of
from zcube.report.picture import svg_bytes
from zcube.report.results import Results
from zcube.report.waterfall import plot_waterfall
from zcube.serving.attribution import PARTS

CHANGES = {"fabrics": ["roft-256", "zcube-256"], "baseline": None, "requests.count": 12, "prefill.nodes": 4, "decode.nodes": 2}


@pytest.fixture(scope="module")
def comparison():
    return zc.compare("glm51-pd-256", CHANGES)


def with_parts(comparison, **changes):
    """Return the comparison with other parts in the runs' compositions."""

    def changed(result):
        metrics = result.repeats[0]
        parts = {of: {**metrics["ttft_parts_s"][of], **changes} for of in ("mean", "slowest")}
        return replace(result, repeats=({**metrics, "ttft_parts_s": parts},))

    return replace(comparison, results={name: changed(result) for name, result in comparison.results.items()})


def bars_of(figure):
    """Return the bars of each panel as (start, length, colour, hatch)."""
    return [
        [(bar.get_x(), bar.get_width(), to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in axes.patches]
        for axes in figure.axes
    ]


def test_every_part_of_attribution_has_its_own_look():
    assert set(LOOKS) >= set(PARTS)
    assert len({look[:2] for look in LOOKS.values()}) == len(LOOKS)


def test_bars_follow_each_other_and_end_at_the_time_to_first_token(comparison):
    figure = plot_waterfall(Results.of(comparison))
    for panel, bars in zip(("mean", "slowest"), bars_of(figure), strict=True):
        for at, result in enumerate(comparison.results.values()):
            parts = result.metrics["ttft_parts_s"][panel]
            own = bars[at * len(bars) // 2 : (at + 1) * len(bars) // 2]
            for (start, length, *_), (after, *_) in pairwise(own):
                assert after == pytest.approx(start + length)
            assert own[-1][0] + own[-1][1] == pytest.approx(sum(parts.values()))
    mean = comparison.results["roft-256"].metrics
    assert sum(mean["ttft_parts_s"]["mean"].values()) == pytest.approx(mean["ttft_s"]["mean"])


def test_a_part_below_0_leads_back_and_one_nobody_has_is_left_out(comparison):
    figure = plot_waterfall(Results.of(with_parts(comparison, type2=-0.25, queue=0.0)))
    lengths = [length for _, length, *_ in bars_of(figure)[0]]
    assert min(lengths) == pytest.approx(-0.25)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert LOOKS["type2"][2] in names and LOOKS["queue"][2] not in names


def test_parts_that_others_add_are_drawn_under_their_names(comparison):
    figure = plot_waterfall(Results.of(with_parts(comparison, wire_wait=0.3, remote_read=0.2)))
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[-2:] == ["wire wait", "remote read"]
    looks = looks_of([*PARTS, "wire_wait", "remote_read"])
    assert len({look[:2] for look in looks.values()}) == len(looks)


def test_without_a_first_token_it_says_so(comparison):
    none = with_parts(comparison, **dict.fromkeys(PARTS))
    assert {text.get_text() for axes in plot_waterfall(Results.of(none)).axes for text in axes.texts} == {
        "no request completed"
    }


def test_pictures_repeat_byte_for_byte(comparison):
    assert svg_bytes(plot_waterfall(Results.of(comparison))) == svg_bytes(plot_waterfall(Results.of(comparison)))


def test_the_page_has_the_figures_beside_it_and_which_link(comparison):
    document = comparison.document()
    page = render_html(document, {}, {})
    table = page[page.index("What first tokens waited for") : page.index("Fullest links")]
    for result in document["fabrics"].values():
        assert f"{1e3 * result['ttft_parts_s']['mean']['prefill']:,.0f}" in table
    rows = re.findall(r"<span class=\"swatch shade-(\w+)\"></span>([^<]+)</th>", table)
    assert ("5f5f5f", "prefill") in rows and ".shade-5f5f5f{background-color:#5F5F5F}" in page
    assert table.count("Which link: ") == 2 and "out of the sender&#39;s NIC" in table


def test_what_a_clock_of_floats_leaves_of_nothing_is_told_as_nothing(comparison):
    document = json.loads(json.dumps(comparison.document()))
    for name, type2_s in (("roft-256", 3.7e-18), ("zcube-256", 0.25)):
        document["fabrics"][name]["ttft_parts_s"]["mean"]["type2"] = type2_s
    page = render_html(document, {}, {})
    assert "e-15" not in page and "250.0" in page
