"""How sentences name loads that were searched, and how much was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.verdict.rows import significant


def load_words(load: float, searched: Mapping[str, Any]) -> str:
    """Return a load and how many times the comparison's it is; ``searched`` is ``Searched.document()``."""
    return f"{significant(load)} {searched['unit']} ({significant(load / searched['base_load'], 3)} times this run's load)"


def effort(searched: Mapping[str, Any]) -> str:
    """Return how many loads were tried on all fabrics, and under how many seeds."""
    loads = sum(len(found["runs"]) for found in searched["fabrics"].values())
    seeds = "one seed each, so that noise moves it" if searched["seeds"] == 1 else f"means over {searched['seeds']} seeds"
    return f"{loads} loads tried, {seeds}"
