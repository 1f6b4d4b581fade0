"""Sphinx builds the documentation site from this folder: ``sphinx-build -W --keep-going -n docs build/site``.

Pages are Markdown that a code host shows as it stands. The site needs nothing from elsewhere: no fonts, scripts or pictures;
its search runs in the page, also from a file path.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import zcube

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx

project = "zcube"
author = "the zcube authors"
copyright = author
version = release = zcube.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
# A code host's anchors, so that a link to a heading is the same on both.
myst_heading_anchors = 5

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"exclude-members": "model_config"}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"zcube {release}"
html_static_path = ["style"]
html_css_files = ["zcube.css"]
html_copy_source = False
html_show_sphinx = False
# Summaries of hits are fetched page by page, which browsers refuse from a file path.
html_show_search_summary = False


def known_in_the_code(app: Sphinx, env: Any, node: Element, written: Element) -> Element | None:
    """Leave a reference as text where it names something of the code that the site has no entry for.

    What is not in the code either stays missing, which fails the build. Types of parameters are prose ("int array").
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    if node.get("reftype") == "class" and "." not in target:
        return written
    places = ["", f"{node.get('py:module')}.", f"{node.get('py:module')}.{node.get('py:class')}."]
    return written if any(found(place + target) for place in places) else None


def found(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = import_module(".".join(parts[:cut]))
        except (ImportError, ValueError):
            continue
        for part in parts[cut:]:
            fields = getattr(thing, "__dataclass_fields__", {}) | getattr(thing, "model_fields", {})
            if part not in fields and not hasattr(thing, part):
                return False
            thing = getattr(thing, part, None)
        return True
    return False


def name_what_is_not_on_the_site(app: Sphinx, page: str, text: list[str]) -> None:
    """Turn links to files outside this folder, which a code host follows, into their paths in the source."""
    text[0] = re.sub(r"\[[^\]]+\]\(\.\./([^)]+)\)", r"`\1`", text[0])


def one_attribute_each(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Give each of several attributes that a docstring describes together (``a, b : int``) an entry, as napoleon wants it."""
    head, underline, attributes = "\n".join(lines).partition("\nAttributes\n----------\n")
    section, *rest = re.split(r"(\n(?=\w+\n---+\n))", attributes, maxsplit=1)
    entries = re.findall(r"^(\S[^:\n]*?)( : .*)?\n((?:[ \t].*\n?|\n)*)", section, flags=re.MULTILINE)
    written = "".join(f"{one.strip()}{kind}\n{body.rstrip()}\n" for names, kind, body in entries for one in names.split(","))
    lines[:] = (head + underline + written + "".join(rest)).split("\n")


def setup(app: Sphinx) -> None:
    """Register what this file adds."""
    # Before napoleon, which has the default of 500.
    app.connect("autodoc-process-docstring", one_attribute_each, priority=400)
    app.connect("source-read", name_what_is_not_on_the_site)
    app.connect("missing-reference", known_in_the_code)
