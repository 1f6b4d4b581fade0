"""Arrays inside the JSON of a page: little-endian bytes, deflated, as base-64 text; ``templates/topology.js`` unpacks them."""

from __future__ import annotations

import base64
import zlib

import numpy as np

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
    """Return the array of :func:`packed`, flat."""
    return np.frombuffer(zlib.decompress(base64.b64decode(value["deflated"])), dtype=f"<{value['type']}")


def smallest(values: np.ndarray) -> str:
    """Return the smallest type of whole numbers that holds some."""
    highest = int(values.max(initial=0))
    return "u1" if highest < 1 << 8 else "u2" if highest < 1 << 16 else "u4"
