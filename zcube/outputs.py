"""Writing results so that a reader never sees half of one: a file is written under a temporary name and renamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zcube.workplace import workplace

#: Stands in JSON for an infinite number: a quantile that falls on a request which failed, a price per token where none came.
INFINITE = "infinity"


def to_json(document: Any) -> str:
    """Return a document as indented JSON with a final newline; NaN and infinities are refused."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def flat(document: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by their keys, joined by points."""
    values: dict[str, Any] = {}
    for key, value in document.items():
        values |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return values


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write one file through a temporary name.

    Parameters
    ----------
    path : Path
        The target; where it is a link, what it leads to, so that the link stays.
    write : callable
        Called with the temporary path.
    """
    path = Path(path).resolve()
    with workplace(path) as folder:
        temporary = folder / path.name
        write(temporary)
        temporary.replace(path)
