"""What pictures and texts of packet runs share: names of ports, files as PNG or SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zcube.errors import Fault, InputError
from zcube.outputs import write_file
from zcube.report.names import printable
from zcube.report.picture import DPI, picture_text
from zcube.report.quantities import time_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png")

#: Characters of a node's name beyond which it is cut, so that no name decides the size of a picture.
LONGEST_NAME = 24


def node_text(name: str) -> str:
    """Return a node's name, printable and of bounded length."""
    text = printable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."


def port_text(source: str, target: str) -> str:
    """Return the name of a port: the node it belongs to and the one it leads to."""
    return f"{node_text(source)}>{node_text(target)}"


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def paused_text(paused_s: float, pauses: int) -> str:
    """Return how long and how often something was paused for a congested port, or that it was paused for others only."""
    if not pauses:
        return "not paused for it"
    return f"{time_text(paused_s)} in {counted(pauses, 'pause')}"


def drawn_port(source: str, target: str) -> str:
    """Return the name of a port as matplotlib draws it."""
    return picture_text(port_text(source, target))


def check_format(path: Path) -> str:
    """Return the format a file's name asks for.

    Raises
    ------
    InputError
        If the name ends neither in ``.svg`` nor in ``.png``.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(Fault(str(path), f"a name that ends in {suffix or 'nothing'}", "a name that ends in .svg or .png"))
    return suffix[1:]


def save_as(figure: Figure, path: Path) -> None:
    """Write a picture as its name asks for; in an SVG all text stays text, and equal pictures give equal files."""
    from matplotlib import rc_context

    form = check_format(path)
    metadata = {"Date": None} if form == "svg" else None
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "zcube"}):
        write_file(
            path, lambda temporary: figure.savefig(temporary, dpi=DPI, format=form, facecolor="white", metadata=metadata)
        )
