"""What pictures and texts of packet runs share: names of ports, numbers with what they count."""

from __future__ import annotations

from zcube.report.names import printable
from zcube.report.picture import picture_text
from zcube.report.quantities import time_text

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
