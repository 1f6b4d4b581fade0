"""Names by a hostile hand stay text in pages and pictures."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings

from zcube.fabric.catalog import load_fabric
from zcube.fabric.counts import fabric_counts
from zcube.fabric.optics import optics_of
from zcube.fuzz.strategies import hostile_texts
from zcube.report.fabric_drawing import draw_fabric
from zcube.report.fabric_page import fabric_page
from zcube.report.inline_svg import inline_svg
from zcube.report.picture import svg_bytes
from zcube.report.topology import fabric_section
from zcube.routing.shape import fabric_shape

MARKUP = "</script></title><script>alert(1)</script><img src=x onerror=alert(1)>"
ATTRIBUTE = "\" onload='alert(1)' x=\"&amp;<b>"


class Elements(HTMLParser):
    """Which elements a browser would see, and with which attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = Counter()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found[tag, tuple(sorted(name for name, _ in attributes))] += 1


@pytest.fixture(scope="module")
def shown():
    """A fabric, what its page shows, and the elements of the page under a plain name."""
    fabric = load_fabric("zcube-32")
    document = {**fabric_counts(fabric, optics_of(fabric, "paper", None)), **fabric_shape(fabric)}
    page = fabric_page(fabric, {**document, "name": "x"}, ["fabric", "show", "x"], [fabric_section(fabric)])
    return fabric, document, Elements(page).found


@settings(max_examples=4)
@given(text=hostile_texts())
@example(text=MARKUP)
@example(text=ATTRIBUTE)
def test_names_of_a_fabric_stay_text_on_its_page(shown, text):
    fabric, document, plain = shown
    hostile = replace(fabric, name=fabric.name + text)
    document = {**document, "name": text}
    page = fabric_page(hostile, document, ["fabric", "show", text], [fabric_section(hostile)])
    assert Elements(page).found == plain
    assert "\x1b" not in page and "\u202e" not in page


@settings(max_examples=5)
@given(text=hostile_texts())
@example(text=MARKUP)
def test_names_of_a_fabric_stay_text_in_its_drawing(shown, text):
    fabric, _, _ = shown
    picture = svg_bytes(draw_fabric(replace(fabric, name=fabric.name + text)))
    elements = {element.tag for element in ElementTree.fromstring(picture).iter()}
    assert not any(str(tag).endswith(("script", "}img", "}b", "foreignObject")) for tag in elements)
    inline = inline_svg(picture, "p", text)
    assert "<script" not in inline and "onerror=alert" not in re.sub(r'"[^"]*"', "", re.sub(r">[^<]*<", "><", inline))
