"""The conditions of a run as a table: keys by the table of the file they stand in, and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zcube.report.names import printable
from zcube.verdict.rows import ABSENT


def condition_groups(scenario: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return tables of a scenario with their dotted keys and values; keys that stand in none come first, under no name."""
    groups: dict[str, list[tuple[str, str]]] = {"": []}
    for key, value in scenario.items():
        if isinstance(value, Mapping):
            groups.setdefault(key, []).extend(_flat(value, f"{key}."))
        else:
            groups[""].append((key, _text(value)))
    return [(printable(name) if name else "", rows) for name, rows in groups.items() if rows]


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Give dotted keys and values of a nested table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(str(item) for item in value) or ABSENT)
    return ABSENT if value is None or value == "" else printable(str(value))
