"""The page of a fabric: its drawing and its counts, ports, paths and bisection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube.outputs import flat
from zcube.report.article import Block, article_page
from zcube.report.fabric_drawing import draw_fabric
from zcube.report.names import printable
from zcube.report.page import Section
from zcube.verdict.rows import ABSENT, significant

if TYPE_CHECKING:
    from zcube.fabric.model import Fabric

#: What counts of links and ports are of, in words.
_RULE = "counting_rule"


def fabric_page(fabric: Fabric, document: Mapping[str, Any], call: Sequence[str] = (), sections: Sequence[Section] = ()) -> str:
    """Return the page of a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is drawn.
    document : mapping
        Its counts and shape, as ``zcube fabric show --json`` gives them.
    call : sequence of str
        What was called, without the name of the program.
    sections : sequence of Section
        Parts that other rooms make.
    """
    name = printable(fabric.name)
    told = [[key.replace(".", ": ").replace("_", " "), _text(value)] for key, value in flat(document).items() if key != _RULE]
    rule = [str(document[_RULE])] if _RULE in document else []
    drawing = {f"{name}, tier by tier; repeated parts are drawn once.": draw_fabric(fabric)}
    lead = f"{fabric.gpus:,} GPUs, {fabric.switches:,} switches, family {fabric.family}."
    blocks = [
        Block("Drawing", "drawing", pictures=drawing),
        Block("Counts and shape", "counts", [["Figure", "Value"], *told], 2, notes=rule),
    ]
    return article_page(f"Fabric {name}", [lead], blocks, call, sections)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or ABSENT
    if isinstance(value, bool) or not isinstance(value, int):
        return ABSENT if value is None or value == "" else printable(str(value))
    return f"{value:,}"
