"""Documents of tables and lists with one change, and as text."""

from __future__ import annotations

import copy
import json
import re
from random import Random
from typing import Any

from zcube.fuzz.hostile import RAW, VALUES

_RAW = re.compile("|".join(f'"{mark}"' for mark in RAW))


def with_change(document: Any, draws: Random) -> Any:
    """Return a document with something in it left out, doubled, renamed, or in the place of something else."""
    document = copy.deepcopy(document)
    if not isinstance(document, dict | list) or not document:
        return draws.choice(VALUES)
    inside, key = _place(document, draws)
    way = draws.randrange(8)
    if way == 0:
        del inside[key]
    elif way == 1 and isinstance(inside, list):
        inside[key:key] = [inside[key]] * draws.choice((1, 1, 2, 1000))
    elif way == 1:
        inside[draws.choice((*map(str, _keys(document, draws)), "", "x", "__proto__", "\x1b"))] = inside[key]
    elif way == 2:
        other, at = _place(document, draws)
        inside[key] = copy.deepcopy(other[at])
    elif way == 3 and isinstance(inside[key], list):
        draws.shuffle(inside[key])
    elif way == 4 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
        value = inside[key]
        scale = draws.choice((-1, 2, 10, 1000, 10**9))
        inside[key] = draws.choice(
            (value * scale, value + 1, value - 1, str(value), [value], float(min(value, 1e300)), value / 3)
        )
    else:
        inside[key] = copy.deepcopy(draws.choice(VALUES))
    return document


def _place(document: Any, draws: Random) -> tuple[Any, Any]:
    """Return a table or list in a document and a key or place of it that holds something."""
    inside = document
    while True:
        key = draws.choice(list(inside)) if isinstance(inside, dict) else draws.randrange(len(inside))
        deeper = inside[key]
        if not isinstance(deeper, dict | list) or not deeper or draws.random() < 0.15:
            return inside, key
        inside = deeper


def _keys(document: Any, draws: Random) -> list[Any]:
    inside, _ = _place(document, draws)
    return list(inside) if isinstance(inside, dict) else []


def json_text(document: Any) -> str:
    """Return a document as JSON, marks of :data:`~zcube.fuzz.hostile.RAW` as what they stand for."""
    return _RAW.sub(lambda found: RAW[found.group()[1:-1]], json.dumps(document, ensure_ascii=False))


def toml_text(document: Any) -> str:
    """Return a document as TOML, a line for each key, marks as above; null, which TOML has not, is left out."""
    if not isinstance(document, dict):
        return f"a = {_toml(document)}"
    text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items() if value is not None)
    return _RAW.sub(lambda found: RAW[found.group()[1:-1]], text)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items() if part is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part) for part in value if part is not None) + "]"
    return json.dumps(value, ensure_ascii=False)
