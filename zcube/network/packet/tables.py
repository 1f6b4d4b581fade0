"""The tables of the packet model as arrays that grow, and the one record by which kernels find them."""

from __future__ import annotations

import numpy as np

from zcube.network.fluid_state import grown
from zcube.network.packet.state import CACHE_LINE, NET, PACKET, READINGS, TABLES


class Tables:
    """Keeps arrays alive and their addresses up to date.

    Attributes
    ----------
    net : NET array [1]
        What kernels take.
    """

    def __init__(self, **arrays: np.ndarray):
        self.net = np.zeros(1, NET)
        self._arrays: dict[str, np.ndarray] = {}
        for name in TABLES:
            self[name] = arrays.get(name, np.zeros(16, _plain(name)))

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        if array.dtype != _plain(name):
            raise TypeError(f"{name} are rows of {_plain(name)}, not {array.dtype}")
        self._arrays[name] = _aligned(array)
        self.net[f"{name}_at"] = self._arrays[name].ctypes.data

    def grow(self, name: str, size: int) -> None:
        """Make a table at least so long, zeros behind."""
        if size > len(self[name]):
            self[name] = grown(self[name], size)

    def add_packets(self, size: int) -> None:
        """Make room for so many packets and events in all; the new records are free."""
        have, net = len(self["packets"]), self.net
        packets = np.zeros(size, PACKET)
        packets[:have] = self["packets"]
        packets["next"][have:] = np.arange(have + 1, size + 1)
        packets["next"][size - 1] = net["free"][0]
        net["free"] = have
        net["free_count"] += size - have
        self["packets"] = packets
        self.grow("far", size)
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


def _aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy that begins with a cache line, as rows of whole lines then do."""
    room = np.zeros(array.nbytes + CACHE_LINE, dtype=np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    copy = room[first : first + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy
