"""How sentences write shares and lists."""

from __future__ import annotations

from zcube.verdict.rows import significant


def percent(share: float) -> str:
    """Return a share as a percentage of at most three digits."""
    return f"{significant(100 * share, 3 if share >= 0.01 else 2)} %"


def plain_percent(share: float) -> str:
    """Return a share that was asked for as a percentage, without digits that say nothing."""
    return f"{100 * share:.6g} %"


def listed(words: list[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
