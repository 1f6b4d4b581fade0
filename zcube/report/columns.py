"""Tables as plain text, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(cells: Sequence[Sequence[str]], left: int | Sequence[int] = 1) -> list[str]:
    """Return rows as lines, some columns set left and the others right.

    Parameters
    ----------
    cells : sequence of sequence of str
        Rows of equal length, at least one.
    left : int or sequence of int
        How many of the first columns are set left, or which.
    """
    to_left = range(left) if isinstance(left, int) else left
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            text.ljust(width) if place in to_left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
