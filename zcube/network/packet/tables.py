"""The tables of the packet model as arrays that grow, and the one record by which kernels find them."""

from __future__ import annotations

import numpy as np

from zcube.network.packet.layout import NET, SCRATCH, TABLES
from zcube.network.packet.state import BLOCK, CACHE_LINE, READINGS


class Tables:
    """Keeps arrays alive and their addresses up to date.

    Parameters
    ----------
    **given : array or int
        Rows of tables by name, or how many there are of zeros; others have few.

    Attributes
    ----------
    net : NET array [1]
        What kernels take.
    """

    def __init__(self, **given: np.ndarray | int):
        self.net = np.zeros(1, NET)
        self._arrays: dict[str, np.ndarray] = {}
        for name in TABLES:
            rows = given.get(name, SCRATCH.get(name, 16))
            if isinstance(rows, np.ndarray):
                self[name] = rows
            else:
                self._put(name, np.zeros(0, _plain(name)), rows)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        if array.dtype != _plain(name):
            raise TypeError(f"{name} are rows of {_plain(name)}, not {array.dtype}")
        self._put(name, array, len(array))

    def _put(self, name: str, array: np.ndarray, size: int) -> None:
        """Keep a copy of an array, zeros behind; of these no page is in memory before it is used."""
        self._arrays[name] = _aligned(array, size)
        self.net[f"{name}_at"] = self._arrays[name].ctypes.data

    def grow(self, name: str, size: int) -> None:
        """Make a table at least so long, zeros behind."""
        have = len(self[name])
        if size > have:
            # Doubling keeps repeated growth linear; a first large request gets just what it asks for.
            self._put(name, self[name], max(size, 2 * have))

    def add_packets(self, size: int) -> None:
        """Make room for so many packets and events in all; the new records are free."""
        have, net = len(self["packets"]), self.net
        self._put("packets", self["packets"], size)
        after = self["packets"]["next"]
        after[have:] = np.arange(have + 1, size + 1)
        after[size - 1] = net["free"][0]
        net["free"] = have
        net["free_count"] += size - have
        self.grow("far", size)
        # Of a bucket with one event there is none, and of others one for every so many events and one begun.
        buckets = int(net["buckets"][0])
        self.grow("blocks", (min(size // 2, buckets + size // (BLOCK - 1)) + 2) * BLOCK)
        self.cover_packets()

    def cover_packets(self) -> None:
        """Make rows of ``echoes`` and ``readings`` for every packet, where the congestion control is acknowledged and told."""
        if self.net["acknowledging"][0]:
            self.grow("echoes", len(self["packets"]))
        if self.net["telemetry_ps"][0]:
            self.grow("readings", len(self["packets"]) * READINGS)

    @property
    def bytes(self) -> int:
        """Memory of all tables."""
        return sum(array.nbytes for array in self._arrays.values())


def _plain(name: str) -> np.dtype:
    """Return the type of a table's rows; a row of one number is that number."""
    dtype = TABLES[name]
    return dtype if dtype.names != ("item",) else dtype["item"]


def _aligned(array: np.ndarray, size: int) -> np.ndarray:
    """Return a copy with so many rows that begins with a cache line, as rows of whole lines then do."""
    size_bytes = size * array.itemsize
    room = np.zeros(size_bytes + CACHE_LINE, dtype=np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    copy = room[first : first + size_bytes].view(array.dtype)
    copy[: len(array)] = array
    return copy
