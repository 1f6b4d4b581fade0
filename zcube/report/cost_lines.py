"""What is said of the prices per token: what they hold, and which figures are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCOPES = {"fabric": "Fabric", "with_nics": "With NICs", "with_gpus": "With GPUs"}


def cost_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    texts = {names[name]: _missing(fabric["cost"]) for name, fabric in document["fabrics"].items()}
    lines = [("Cost per token", document["cost_rule"])]
    if len(set(texts.values())) == 1:
        texts = {"": next(iter(texts.values()))}
    return [*lines, *((f"Missing{' on' * bool(name)} {name}".rstrip(), text) for name, text in texts.items() if text)]


def _missing(cost: Mapping[str, Any]) -> str:
    """Return the figures that each scope lacks beyond those that the one before it lacks."""
    parts, told = [], set[str]()
    for scope, name in _SCOPES.items():
        new = [figure for figure in cost[scope]["missing"] if figure not in told]
        told.update(new)
        parts += [f"for {name} {', '.join(new)}"] if new else []
    return f"{'; '.join(parts)}; '-' marks what they belong to." if parts else ""
