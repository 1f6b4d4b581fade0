"""What the terminal at hand can show."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TypedDict


class TerminalStyle(TypedDict):
    """Arguments of every table of the report room."""

    width: int | None
    colour: bool
    ascii_only: bool


def terminal_style() -> TerminalStyle:
    """Return width (None in a pipe), colour (not in a pipe, nor where forbidden), and whether only ASCII is safe.

    Colour is forbidden by NO_COLOR with any value (no-color.org), and by a terminal that has none.
    """
    terminal = sys.stdout.isatty()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return TerminalStyle(
        width=shutil.get_terminal_size().columns if terminal else None,
        colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        ascii_only=not encoding.startswith("utf"),
    )
