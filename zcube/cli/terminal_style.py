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
    """Return width (None in a pipe), colour (not in a pipe, not under NO_COLOR), and whether only ASCII is safe."""
    terminal = sys.stdout.isatty()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return TerminalStyle(
        width=shutil.get_terminal_size().columns if terminal else None,
        colour=terminal and "NO_COLOR" not in os.environ,
        ascii_only=not encoding.startswith("utf"),
    )
