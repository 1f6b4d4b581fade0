"""A page of tables and pictures in the frame, for results that need no page of their own kind."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zcube import __version__
from zcube.report.inline_svg import inline_svg
from zcube.report.names import printable
from zcube.report.page import Section, render_page
from zcube.report.picture import svg_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Block:
    """A part of an article.

    Attributes
    ----------
    title, anchor : str
        Heading, and the element's id.
    cells : sequence of rows
        A table, heads first; empty for none.
    words : int
        Columns that hold words; the others hold numbers.
    notes : sequence of str
        Paragraphs below.
    pictures : mapping of str to Figure
        By caption, above the table.
    is_open : bool
        Whether it is unfolded at first.
    """

    title: str
    anchor: str
    cells: Sequence[Sequence[str]] = ()
    words: int = 1
    notes: Sequence[str] = ()
    pictures: Mapping[str, Figure] | None = None
    is_open: bool = True


def article_page(
    title: str, lead: Sequence[str], blocks: Sequence[Block], call: Sequence[str] = (), sections: Sequence[Section] = ()
) -> str:
    """Return a page.

    Parameters
    ----------
    title : str
        Heading of the page.
    lead : sequence of str
        What is said first.
    blocks : sequence of Block
        Parts; those that hold nothing are left out.
    call : sequence of str
        What was called, without the name of the program; empty where that is not known.
    sections : sequence of Section
        Parts that other rooms make, above the blocks.
    """
    return render_page(
        "article.html.j2",
        sections=sections,
        title=title,
        lead=[printable(sentence) for sentence in lead],
        blocks=[_fields(block) for block in blocks if block.cells or block.notes or block.pictures],
        call=printable(shlex.join(["zcube", *call])) if call else "",
        version=__version__,
    )


def _fields(block: Block) -> dict[str, object]:
    pictures = {
        f"{block.anchor}-{number}": {
            "svg": inline_svg(svg_bytes(figure), f"{block.anchor}-{number}", caption),
            "alt": caption,
            "caption": caption,
        }
        for number, (caption, figure) in enumerate((block.pictures or {}).items())
    }
    return {
        "title": block.title,
        "anchor": block.anchor,
        "cells": [[printable(cell) if cell else "" for cell in row] for row in block.cells],
        "words": block.words,
        "notes": [printable(note) for note in block.notes],
        "pictures": pictures,
        "is_open": block.is_open,
    }
