"""Pictures as a part of a page: matplotlib's SVG in the colours of the page's theme, without what the page says already.

A page's policy forbids style attributes, so that properties become presentation attributes; neutral colours become variables
of the frame's style and follow its theme, colours that stand for something stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from zcube.report.palette import INK, THEMED
from zcube.report.picture import CONDITIONS_ID, CURVE, HEADLINE_ID, REACH

if TYPE_CHECKING:
    from markupsafe import Markup

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_LEFT_OUT = ("metadata", "style")
_PAINTS = ("fill", "stroke")
_FONT = re.compile(r"(?:(?P<weight>bold|[1-9]00) )?(?P<size>[\d.]+px)\b")
_PLACE = re.compile(r"translate\((?P<x>[-\d.e]+) (?P<y>[-\d.e]+)\)")
_REFERENCE = re.compile(r"url\(#(?P<id>[^)]+)\)")
#: Attributes of many digits, and a number with more of them than can be seen.
_MEASURED, _LONG = ("d", "x", "y", "width", "height", "transform"), re.compile(r"-?\d+\.\d{3,}")
#: Points from which on a picture is too wide for a phone, and is scrolled.
_BROAD = 480.0
#: Points that a line of text takes above and below its base line.
_ASCENT, _DESCENT = 12.0, 4.0


def inline_svg(picture: bytes, name: str, label: str) -> Markup:
    """Return a picture as an ``svg`` element.

    Parameters
    ----------
    picture : bytes
        SVG as :func:`zcube.report.picture.svg_bytes` writes it.
    name : str
        What its ids begin with, one of a page.
    label : str
        What it shows, in words, for readers who do not see it.
    """
    from markupsafe import Markup

    root = ElementTree.fromstring(picture)
    top, bottom = _kept(root)
    for parent in list(root.iter()):
        for child in list(parent):
            local = child.tag.removeprefix(_SVG) if isinstance(child.tag, str) else ""
            if not child.tag.startswith(_SVG) or local in _LEFT_OUT or child.get("id") in (HEADLINE_ID, CONDITIONS_ID):
                parent.remove(child)
    ids = {used: f"{name}-{number}" for number, used in enumerate(dict.fromkeys(_references(root)))}
    for element in root.iter():
        _plain(element, ids)
    left, _, width, _ = (root.get("viewBox") or "0 0 1 1").split()
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("viewBox", f"{left} {top:g} {width} {bottom - top:g}")
    if float(width) > _BROAD:
        root.set("class", "broad")
    root.set("role", "img")
    root.set("aria-label", label)
    ElementTree.register_namespace("", _SVG[1:-1])
    # A page is no XML: elements need no name space, and a closed tag is written out.
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return Markup(re.sub(r' xmlns(:\w+)?="[^"]*"', "", text))


def _kept(root: ElementTree.Element) -> tuple[float, float]:
    """Return from where to where a picture goes, down, without its headline and conditions."""
    _, top, _, height = (float(part) for part in (root.get("viewBox") or "0 0 1 1").split())
    bottom = top + height
    for element in root.iter(f"{_SVG}g"):
        lines = list(_base_lines(element))
        if element.get("id") == HEADLINE_ID and lines:
            top = max(lines) + _DESCENT
        elif element.get("id") == CONDITIONS_ID and lines:
            bottom = min(lines) - _ASCENT
    return top, bottom


def _base_lines(group: ElementTree.Element) -> Iterator[float]:
    """Give how far down each line of a text stands; matplotlib says it in either of two ways."""
    for text in group.iter():
        found = _PLACE.match(text.get("transform") or "")
        if found or text.get("y"):
            yield float(found["y"] if found else text.get("y") or 0.0)


def _references(root: ElementTree.Element) -> Iterator[str]:
    """Give the ids that elements name."""
    for element in root.iter():
        for value in element.attrib.values():
            yield from (found["id"] for found in _REFERENCE.finditer(value))
        link = element.get(f"{_XLINK}href") or ""
        if link.startswith("#"):
            yield link[1:]


def _plain(element: ElementTree.Element, ids: Mapping[str, str]) -> None:
    """Give an element presentation attributes, colours of the theme and ids of its own."""
    for property_, value in _properties(element.attrib.pop("style", "")):
        element.set(property_, value)
    if element.tag == f"{_SVG}text":
        # What has no colour of its own is black, which is ink here.
        element.attrib.setdefault("fill", INK)
    for paint in _PAINTS:
        colour = element.get(paint)
        if colour is not None:
            element.set(paint, THEMED.get(colour.lower(), colour))
    for key, value in element.attrib.items():
        element.set(key, _REFERENCE.sub(lambda found: f"url(#{ids[found['id']]})", value))
    for key in _MEASURED:
        if key in element.attrib:
            element.set(key, _LONG.sub(lambda found: f"{float(found[0]):.2f}", " ".join(element.attrib[key].split())))
    link = element.attrib.pop(f"{_XLINK}href", None)
    if link is not None:
        element.set("href", f"#{ids[link[1:]]}" if link.startswith("#") else link)
    own = element.attrib.pop("id", "")
    if own in ids:
        element.set("id", ids[own])
    for begins, attribute in ((CURVE, "data-curve"), (REACH, "data-reach")):
        if own.startswith(begins):
            element.set(attribute, own.removeprefix(begins))


def _properties(style: str) -> Iterator[tuple[str, str]]:
    """Give the properties of a style as attributes; of a font its size and weight."""
    for declared in filter(None, (part.strip() for part in style.split(";"))):
        property_, _, value = (part.strip() for part in declared.partition(":"))
        if property_ == "font-family":
            continue
        if property_ != "font":
            yield property_, value
            continue
        found = _FONT.search(value)
        if found:
            yield "font-size", found["size"]
            if found["weight"]:
                yield "font-weight", found["weight"]
