"""How much memory there is to be had, so that a run that would not fit is refused before it starts; giving it back."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from zcube.errors import Fault, InputError

BYTES_PER_GB = 1e9


class NoRoomError(InputError):
    """A run would take more memory than may be used."""


#: Runs that may be asked for at a time; each takes memory of its own.
MOST_JOBS = 1024

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory_bytes() -> int | None:
    """Return what a process could still take, from the system and its control group; None where neither says."""
    found = [room for room in (_system_room(), *(_cgroup_room(*files) for files in _CGROUPS)) if room is not None]
    return min(found) if found else None


def give_back_memory() -> None:
    """Give the system the memory that is free here, where the C library keeps it for later as glibc does."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def check_memory(needed_bytes: float, limit_gb: float | None, what: str) -> None:
    """Refuse what would not fit.

    Parameters
    ----------
    needed_bytes : float
        The estimate.
    limit_gb : float, optional
        What may be used; default: what is available.
    what : str
        What needs it, for the fault.

    Raises
    ------
    NoRoomError
        With the estimate and the limit.
    """
    available = available_memory_bytes() if limit_gb is None else limit_gb * BYTES_PER_GB
    if available is not None and needed_bytes > available:
        origin = "available" if limit_gb is None else "allowed by memory_gb (--memory-gb)"
        raise NoRoomError(
            Fault(
                "memory",
                f"{what}, about {needed_bytes / BYTES_PER_GB:.3g} GB",
                f"at most the {available / BYTES_PER_GB:.3g} GB {origin}",
            )
        )


def _system_room() -> int | None:
    """Return the system's own estimate on Linux, else its free pages."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _cgroup_room(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    """Return a control group's limit less what it uses, file cache that can be dropped not counted."""
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return max(0, most - used + int(statistics.get(cache, 0)))
