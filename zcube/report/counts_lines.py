"""A fabric's counts as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.names import printable


def counts_lines(counts: Mapping[str, Any]) -> str:
    """Return a fabric's counts as aligned lines, switch groups indented.

    Parameters
    ----------
    counts : mapping
        ``zcube.fabric.counts.fabric_counts`` of a fabric.
    """
    lines: list[tuple[str, Any]] = []
    for key, value in counts.items():
        if isinstance(value, Mapping):
            lines.append((key, ""))
            for name, group in value.items():
                parts = group.items() if isinstance(group, Mapping) else ()
                inner = ", ".join(f"{part} {_plain(number)}" for part, number in parts) or _plain(group)
                lines.append((f"  {printable(name)}", inner))
        else:
            lines.append((key, _plain(value)))
    margin = max(len(key) for key, _ in lines) + 2
    return "".join(f"{key:<{margin}}{text}".rstrip() + "\n" for key, text in lines)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else printable(str(value))
