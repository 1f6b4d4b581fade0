"""Fabric names as readers see them. A fabric may be named by a path, or by anything a shell lets through."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

#: Longest part of a fabric's name that goes into a file name.
SLUG_LENGTH = 60


def display_names(fabrics: Iterable[str]) -> dict[str, str]:
    """Return a short, printable and distinct name for every fabric.

    A path becomes its stem where that leaves the names distinct. Control and format characters (line feeds, terminal
    escapes, direction marks) become ``?``.

    Parameters
    ----------
    fabrics : iterable of str
        Distinct names or paths.

    Returns
    -------
    dict of str
        By given name, in the given order.
    """
    given = list(fabrics)
    short = [printable(_stem(name)) for name in given]
    names = [brief if short.count(brief) == 1 else printable(name) for name, brief in zip(given, short, strict=True)]
    return dict(zip(given, _distinct(names), strict=True))


def file_slugs(fabrics: Iterable[str]) -> dict[str, str]:
    """Return the part of a file name that stands for each fabric.

    Only ASCII letters, digits, ``.``, ``_`` and ``-``; never empty, never starting with a dot, distinct even where the file
    system ignores case.

    Parameters
    ----------
    fabrics : iterable of str
        Distinct names or paths.
    """
    names = display_names(fabrics)
    slugs = [re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:SLUG_LENGTH].strip("-.") or "fabric" for name in names.values()]
    return dict(zip(names, _distinct(slugs), strict=True))


def printable(name: str) -> str:
    """Return text with every control, format and unassigned character replaced by ``?``; never blank."""
    text = "".join("?" if unicodedata.category(character).startswith("C") else character for character in name)
    return text if text.strip() else "(blank)"


def _stem(name: str) -> str:
    is_path = "/" in name or "\\" in name or name.endswith(".toml")
    last = PurePath(name.replace("\\", "/")).name if is_path else name
    return last.removesuffix(".toml") or name


def _distinct(names: list[str]) -> list[str]:
    """Return names with the repeated ones numbered, no number giving a name that another already has."""
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    result = []
    for name in names:
        chosen, number = name, 2
        while chosen.casefold() in seen or (chosen != name and chosen.casefold() in taken):
            chosen, number = f"{name}-{number}", number + 1
        seen.add(chosen.casefold())
        result.append(chosen)
    return result
