"""Numbers of foreign records, taken only if they are what they should be."""

from __future__ import annotations

from typing import Any

#: Bytes of one operation; more is a corrupt record.
MAX_SIZE_BYTES = 1 << 50
#: Times in microseconds lie within +-3000 years.
MAX_TIME_US = 1e17


def whole(value: Any, most: int = MAX_SIZE_BYTES) -> int | None:
    """Return a whole number from 0 to ``most``, also one written as 4.0 or "4"; None for anything else."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            return None
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        return None
    return value


def time_us(value: Any) -> float | None:
    """Return a finite time in microseconds, whole numbers unchanged so that nothing of them is rounded; else None."""
    if isinstance(value, str):
        try:
            value = float(value[:40])
        except ValueError:
            return None
    # What is no number is no less than any; whole numbers may be too large to become one with a point.
    if type(value) not in (int, float) or not abs(value) <= MAX_TIME_US:
        return None
    return value


def span_us(value: Any) -> float | None:
    """Return a duration in microseconds, not negative; else None."""
    found = time_us(value)
    return None if found is None or found < 0 else found
