"""Arrays inside the JSON of a page: little-endian bytes, deflated, as base-64 text; its script unpacks them."""

from __future__ import annotations

import base64
import zlib

import numpy as np

#: Largest array that is unpacked here.
MOST_BYTES = 1 << 24
#: Types that the page can unpack.
TYPES = ("u1", "u2", "u4", "f4", "f8")


def packed(values: np.ndarray, kind: str) -> dict[str, str]:
    """Return an array as JSON-ready data.

    Parameters
    ----------
    values : array
        Of any shape, in C order.
    kind : {"u1", "u2", "u4", "f4", "f8"}
        What its entries become; whole numbers must fit.

    Raises
    ------
    ValueError
        If a whole number does not fit.
    """
    flat = np.ascontiguousarray(values).ravel()
    if kind.startswith("u") and len(flat) and not 0 <= flat.min() <= flat.max() < 1 << (8 * int(kind[1:])):
        raise ValueError(f"{flat.min()} to {flat.max()} do not fit in {kind}")
    return {"type": kind, "deflated": base64.b64encode(zlib.compress(flat.astype(f"<{kind}").tobytes(), 9)).decode("ascii")}


def unpacked(value: dict[str, str]) -> np.ndarray:
    """Return the array of :func:`packed`, flat.

    Raises
    ------
    ValueError
        If it is none, or larger than :data:`MOST_BYTES`.
    """
    if value["type"] not in TYPES:
        raise ValueError(f"type {value['type']!r:.20}")
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(base64.b64decode(value["deflated"]), MOST_BYTES)
    except zlib.error as error:
        raise ValueError("no deflated bytes") from error
    if not inflater.eof:
        raise ValueError(f"an array cut short, or of more than {MOST_BYTES:,} bytes")
    return np.frombuffer(whole, dtype=f"<{value['type']}")


def smallest(values: np.ndarray) -> str:
    """Return the smallest type of whole numbers that holds some."""
    highest = int(values.max(initial=0))
    return "u1" if highest < 1 << 8 else "u2" if highest < 1 << 16 else "u4"
