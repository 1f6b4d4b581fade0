"""What of a fabric's links was measured: rates that long messages reach, and what a message takes beside its bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from zcube.fabric.model import Fabric


@dataclass(frozen=True)
class MessageStart:
    """What sending a message takes beside its bytes over the rate: engine, driver, kernel launch, protocol.

    Attributes
    ----------
    size_bytes, start_s : tuple of float
        Time by size of the message, sizes ascending; linear in the logarithm of the size between them, constant beyond. Empty:
        no time.
    """

    size_bytes: tuple[float, ...] = ()
    start_s: tuple[float, ...] = ()

    def of(self, size_bytes: FloatArray) -> FloatArray:
        """Return the time of each message, seconds."""
        if not self.size_bytes:
            return np.zeros(len(size_bytes))
        return np.interp(np.log(size_bytes), np.log(self.size_bytes), self.start_s)


#: Messages take no time beside their bytes.
NO_START = MessageStart()


@dataclass(frozen=True)
class MeasuredLinks:
    """Rates and message starts that take the place of a fabric's own; what is None stays.

    Attributes
    ----------
    nic_efficiency : float or None
        Part of the line rate that long messages reach, above 0, at most 1. It holds over NICs and between switches alike: what
        takes it, headers and the pauses between messages, travels the whole way.
    nic_start, nvlink_start : MessageStart or None
        What a message that leaves by a NIC, or over NVLink, takes beside its bytes at that rate, by size; once a message.
    nvlink_gbps : float or None
        Rate of one GPU's NVLink, each direction, that long messages reach.
    """

    nic_efficiency: float | None = None
    nic_start: MessageStart | None = None
    nvlink_gbps: float | None = None
    nvlink_start: MessageStart | None = None

    def operation_s(self, operation: str, ranks: int, size_bytes: FloatArray, hosts: int = 1) -> FloatArray | None:
        """Return the times of an operation among GPUs of servers, by the bytes that a rank puts in; None if not measured."""
        return None

    def outside_operation(
        self, operation: str, ranks: int, from_bytes: float, to_bytes: float, hosts: int = 1
    ) -> tuple[str, ...]:
        """Return in words in what operations of two sizes, as above, lie outside what was measured."""
        return ()

    def document(self, fabric: Fabric, source: IntArray, target: IntArray, size_bytes: FloatArray) -> dict[str, Any]:
        """Return what a result says of them, JSON-ready.

        Parameters
        ----------
        fabric : Fabric
            What carried transfers with them.
        source, target, size_bytes : array [flows]
            The transfers carried.
        """
        return {"applied": self.applied()}

    def applied(self) -> dict[str, Any]:
        """Return the values, JSON-ready."""
        values = asdict(MeasuredLinks(self.nic_efficiency, self.nic_start, self.nvlink_gbps, self.nvlink_start))
        # Lists, as they are read back.
        return dict(json.loads(json.dumps(values)))
