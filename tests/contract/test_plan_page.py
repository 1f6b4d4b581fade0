"""The pages of plans: one file, well formed, nothing fetched, names escaped, figures those of plan.json."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from zcube.plan.measures import VALUES
from zcube.report.palette import fabric_colours
from zcube.report.plan_page import SHAPES, front_colours, plan_page

SMALL = ("plan", "--gpus", "72", "--switch", "12.8T,25.6T", "--families", "spine-leaf,zcube,bcube,zcube-pods")
VOID = {"meta", "img", "br", "wbr"}
HOSTILE = '"><script>alert(1)</script>\u202e{{7*7}}'


class Page(HTMLParser):
    """Elements with their attributes and text; refuses what is not well formed."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.stack: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), tag
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.stack:
            text.append(data)

    def all(self, tag, **attributes):
        return [
            (found, "".join(text))
            for name, found, text in self.elements
            if name == tag and all(found.get(key.replace("_", "-")) == value for key, value in attributes.items())
        ]

    def text(self, **attributes):
        for _, found, text in self.elements:
            if all(found.get(key) == value for key, value in attributes.items()):
                return "".join(text)
        raise AssertionError(attributes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from zcube.cli import main

    where = tmp_path_factory.mktemp("plan") / "out"
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--growth", "144,288", "--out", str(where)])
    assert ended.value.code == 0
    return where


@pytest.fixture(scope="module")
def document(folder):
    return json.loads((folder / "plan.json").read_text())


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "plan.html").read_text())


def outside(text):
    """Return what a browser would fetch; a folder or file beside the page would be one too."""
    page = Page(text)
    named = [
        value for _, found, _ in page.elements for key, value in found.items() if key in ("src", "href", "srcset", "action")
    ]
    styled = re.findall(r"url\((?!#)|@import|https?://|//[a-z]", re.sub(r"data:[a-z/+]+;base64,[A-Za-z0-9+/=]+", "", text))
    return [value for value in named if not value.startswith(("data:", "#"))] + [one for one in styled if one != "//[a-z]"]


def test_it_is_one_small_file_that_fetches_nothing(folder):
    text = (folder / "plan.html").read_text()
    assert len(text) < 3_000_000
    assert outside(text) == []
    assert not re.search(r"\son[a-z]+=", text), "scripts stand in one place"


def test_the_answer_comes_first_in_words(page, document):
    words = document["recommendation"]["words"]
    shown = page.text(id="recommendation")
    assert all(sentence in shown for sentence in words)
    losses = [one["words"] for one in document["where_zcube_does_not_win"]]
    assert losses and all(sentence in page.text(id="losses") for sentence in losses)
    ids = [found.get("id") for _, found, _ in page.elements]
    assert ids.index("losses") < ids.index("recommendation") < ids.index("plot") < ids.index("measures")


def test_the_plot_has_every_fabrics_values(page, document):
    (data,) = page.all("script", id="plan-data")
    plot = json.loads(data[1])
    assert len(plot["fabrics"]) == len(document["fabrics"])
    for fabric, (name, told) in zip(plot["fabrics"], document["fabrics"].items(), strict=True):
        assert (fabric["name"], fabric["state"]) == (name, told["state"])
        for objective, path in VALUES.items():
            value = told
            for key in path:
                value = None if value is None else value.get(key)
            assert fabric["values"][objective] == value
        assert fabric["tied"] == any(name in group for group in document["ties"])
        assert (fabric["colour"] is not None) == (name in document["front"])
    keys = {one["key"] for one in plot["objectives"]}
    assert set(document["objectives"]) <= keys and set(plot["axes"]) <= set(document["objectives"])


def test_figures_in_tables_are_those_of_the_document(page, document):
    figures = {float(found["value"]) for found, text in page.all("data") if re.fullmatch(r"-?[\d.e+-]+", found["value"])}
    for name in document["front"]:
        fabric = document["fabrics"][name]
        told = [fabric["cost"]["capital_usd"], fabric["counts"]["fibre_km"], fabric["traffic"]["random_permutation_mean"]]
        told += [fabric["availability"][key] for key in ("no_switch_down", "nothing_down", "gpu_attached", "gpus_joined_mean")]
        told += [fabric["failure"]["rate_lost_mean"], fabric["cost"]["bill"]["with_nics"]["total_usd"]]
        told += [line["usd"] for line in fabric["cost"]["bill"]["lines"] if line["usd"] is not None]
        told += [fabric["growth"]["total_capital_usd"]]
        for stage in fabric["growth"]["stages"]:
            told += [stage["capital_usd"], stage["links_kept"], stage["links_moved"], stage["bill"]["total_usd"]]
        assert {value for value in told if value is not None} <= figures
    binding = page.text(id="unbuildable")
    for one in document["cannot_be_built"]:
        assert one["arithmetic"] in binding
        assert all(f"{key} = {value}" in binding for change in one["nearest_demands"] for key, value in change.items())


def test_every_fabric_on_the_front_has_its_picture_and_colour(folder, document):
    pictures = re.findall(
        r'<svg [^>]*aria-label="([^":]*):[^"]*"[^>]*>(.*?)</svg>', (folder / "plan.html").read_text(), re.DOTALL
    )
    assert [name for name, _ in pictures] == document["front"]
    colours = front_colours(document)
    assert colours == fabric_colours({name: document["fabrics"][name] for name in document["front"]})
    for name, drawn in pictures:
        assert colours[name].lower() in drawn.lower()


def test_points_differ_by_more_than_colour(document):
    """Thirty fabrics on the front have six colours; outlines tell those of one colour apart."""
    name = document["front"][0]
    many = {f"{name}-{number}": document["fabrics"][name] for number in range(30)}
    shown = plan_page(
        {**document, "fabrics": many, "front": list(many), "ties": [], "recommendation": None, "baseline": None}, {}
    )
    (data,) = Page(shown).all("script", id="plan-data")
    marks = {(one["colour"], one["shape"]) for one in json.loads(data[1])["fabrics"]}
    assert len(marks) == 30 and len(SHAPES) == 6


def test_hostile_names_stay_text(document):
    """A name, a source, a reason with markup, a template and a mark that turns the direction of writing round."""
    text = json.dumps(document).replace(document["front"][0], json.dumps(HOSTILE)[1:-1])
    hostile = json.loads(text)
    hostile["price_book"]["source"] = hostile["cannot_be_built"][0]["arithmetic"] = HOSTILE
    shown = plan_page(hostile, {hostile["front"][0]: b"<svg></svg>"})
    page = Page(shown)
    assert outside(shown) == [] and "\u202e" not in shown
    # The data, and the scripts of the frame and of the plan: the same as where no name is hostile.
    assert [found for found, _ in page.all("script")] == [found for found, _ in Page(plan_page(document, {})).all("script")]
    assert not any("alert" in text for found, text in page.all("script") if found.get("type") is None)
    assert "{{7*7}}" in page.text(id="recommendation")
    assert '"><script>alert(1)</script>?{{7*7}}' in page.text(id="unbuildable")
    (data,) = page.all("script", id="plan-data")
    assert any(one["name"].endswith("?{{7*7}}") for one in json.loads(data[1])["fabrics"])


def test_a_demand_that_nothing_meets_has_a_page_too(tmp_path, capsys):
    from zcube.cli import main

    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--budget-usd", "10", "--out", str(tmp_path / "none")])
    assert ended.value.code == 1
    shown = Page((tmp_path / "none" / "plan.html").read_text()).text(id="recommendation")
    assert "Nothing meets the demand." in shown and "Nearest demands" in shown


def test_equal_demands_give_equal_pages(folder, tmp_path, run):
    run(*SMALL, "--growth", "144,288", "--out", tmp_path / "again")
    assert (tmp_path / "again" / "plan.html").read_bytes() == (folder / "plan.html").read_bytes()


def test_the_page_of_one_fabric_has_its_stages_and_failures(run, tmp_path):
    out = tmp_path / "one"
    status, _, err = run("plan", "--from", "zcube-256", "--to-gpus", "512", "--failures", "--nodes", "8+8", "--out", out)
    assert status == 0, err
    text = (out / "plan.html").read_text()
    document, page = json.loads((out / "plan.json").read_text()), Page(text)
    assert outside(text) == [] and len(page.all("svg", role="img")) == 2
    figures = {float(found["value"]) for found, _ in page.all("data")}
    (stage,) = document["growth"]["stages"]
    assert {stage["links_kept"], stage["links_added"], stage["bill"]["total_usd"]} <= figures
    for row in document["failures"]["rows"]:
        assert {row["count"], row["cut_off_mean"], row["nic_lost_mean"]} <= figures and row["like"] in page.text(id="failures")
    assert f"To 512 GPUs: every GPU in service stays within reach; {stage['links_kept']:,} of" in page.text(id="answer")
