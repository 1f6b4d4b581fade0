"""Times and sizes as a reader expects them: four digits and a unit."""

from __future__ import annotations

_UNITS_OF_TIME = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
_UNITS_OF_SIZE = (("EB", 1e18), ("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def time_text(seconds: float) -> str:
    """Return a time with four digits and its unit."""
    if not seconds:
        return "0 s"
    for unit, size in _UNITS_OF_TIME:
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def bytes_text(size_bytes: float) -> str:
    """Return a size with four digits and its decimal unit."""
    for unit, scale in _UNITS_OF_SIZE:
        if size_bytes >= scale:
            return f"{size_bytes / scale:.4g} {unit}"
    return f"{size_bytes:.4g} bytes"
