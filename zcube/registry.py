"""What the project brings and what installed packages add to it, under one name each.

A package adds an entry by an entry point of the registry's group: the entry's name, and the object it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar

from zcube.errors import Fault, InputError

Entry = TypeVar("Entry")


def registered(group: str, built_in: Mapping[str, Entry], expected: Callable[[str, Any], str | None]) -> Mapping[str, Entry]:
    """Return built-in entries and those of installed packages.

    Parameters
    ----------
    group : str
        Group of entry points, e.g. ``"zcube.routings"``.
    built_in : mapping
        The project's own entries.
    expected : callable
        Takes an entry point's name and object; returns what it should be, or None where it is that.

    Raises
    ------
    InputError
        With every entry point whose name is taken, that cannot be loaded, or that stands for something else.
    """
    found = dict(built_in)
    faults = []
    for point in entry_points(group=group):
        where = f"entry point {point.name} of {group}"
        try:
            entry = point.load()
        except (ImportError, AttributeError) as error:
            faults.append(Fault(where, f"{point.value}, which cannot be loaded: {error}", "an object of an installed package"))
            continue
        wanted = expected(point.name, entry)
        if point.name in found:
            faults.append(Fault(where, point.value, "a name that is not taken"))
        elif wanted is not None:
            faults.append(Fault(where, point.value, wanted))
        else:
            found[point.name] = entry
    if faults:
        raise InputError(faults)
    return MappingProxyType(found)
