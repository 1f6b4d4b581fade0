"""What functions of the front door take, made what the rooms take, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from zcube.errors import Fault, InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.memory import MOST_JOBS
from zcube.progress import Progress
from zcube.warm import KernelsAhead, needed_groups

#: What a function takes for a fabric: what :func:`load_fabric` does, or a fabric.
FabricLike: TypeAlias = "str | Path | Fabric"


def checked_jobs(jobs: int) -> int:
    """Return a number of runs at a time, refused if it is none."""
    if type(jobs) is not int or not 1 <= jobs <= MOST_JOBS:
        raise InputError(Fault("jobs", repr(jobs), f"1 to {MOST_JOBS}"))
    return jobs


def compile_ahead(fidelity: str, progress: Progress, *more: str) -> None:
    """Compile kernels once, before several processes need them."""
    with KernelsAhead(needed_groups(fidelity, *more)) as ahead:
        ahead.wait(progress)


def check_type(name: str, given: Any, types: Any, expected: str) -> None:
    """Refuse an argument of another type.

    Raises
    ------
    TypeError
        If it is.
    """
    if not isinstance(given, types):
        raise TypeError(f"{name}: found a value of type {type(given).__name__}; expected {expected}")


def fabric_of(given: FabricLike) -> Fabric:
    """Return the fabric that was named or given."""
    return given if isinstance(given, Fabric) else load_fabric(str(given))
