"""Colours of fabrics: one fabric, one colour, in every picture and on the page.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which readers with any of the common colour vision
deficiencies tell apart; black and yellow are left out, because each vanishes on one of the two backgrounds of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)

#: What is neutral in a picture: on a page it takes the theme's colour, by the variables of ``templates/frame.css``.
INK, PAPER, SOFT, LINE = "#000000", "#ffffff", "#555555", "#dddddd"
#: Text on a colour that stands for something keeps its own.
ON_LIGHT, ON_DARK = "#111111", "#fdfdfd"
#: Variable of every neutral colour that pictures use, matplotlib's own for axes and frames of legends among them.
THEMED = {
    INK: "var(--ink)",
    PAPER: "var(--paper)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    "#cccccc": "var(--line)",
}

#: How full a link is, from 0 to 100 % of its line rate in steps of 20: as ``--heat-0`` to ``--heat-5`` of
#: ``templates/topology.css`` on light paper.
LOAD = ("#eef2f7", "#c9dcef", "#8fbfe0", "#4593c5", "#1c64a5", "#08306b")

#: So that reports of different comparisons agree, the first fabric of these families always looks the same.
FAMILY_COLOURS = {"zcube": BLUE, "spine-leaf": VERMILLION}


def fabric_colours(fabrics: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the colour of every fabric.

    Parameters
    ----------
    fabrics : mapping
        The ``fabrics`` table of a comparison's document: by name, with a ``family`` each.

    Returns
    -------
    dict of str
        ``#rrggbb`` by name. Distinct for up to six fabrics; beyond that colours recur and line styles tell them apart.
    """
    colours: dict[str, str] = {}
    for name, fabric in fabrics.items():
        preferred = FAMILY_COLOURS.get(str(fabric.get("family")))
        if preferred is not None and preferred not in colours.values():
            colours[name] = preferred
    for number, name in enumerate(fabrics):
        free = [colour for colour in COLOURS if colour not in colours.values()]
        colours.setdefault(name, free[0] if free else COLOURS[number % len(COLOURS)])
    return {name: colours[name] for name in fabrics}


def tint(colour: str, strength: float) -> str:
    """Return a colour mixed with white.

    Parameters
    ----------
    colour : str
        ``#rrggbb``.
    strength : float
        1 keeps the colour, 0 gives white.
    """
    channels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - channel)):02x}" for channel in channels)
