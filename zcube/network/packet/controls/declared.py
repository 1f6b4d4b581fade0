"""What a congestion control is: declared parameters, needs of the network, and what it does on events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zcube.inputs import Declared
from zcube.network.packet.state import picoseconds

Handler = Callable[..., None]

#: Record of a control that keeps nothing.
NOTHING = np.dtype([("nothing", "i8")])


@dataclass(frozen=True)
class Handlers:
    """What a control does on events of one queue pair: kernels (:func:`zcube.network.kernels.kernel`), None for nothing.

    Each is given the queue pair's SENDER (:mod:`zcube.network.packet.state`), the control's own record of it, the parameters'
    record and the present in picoseconds, and after these what is named below; it changes the first two in place.

    Attributes
    ----------
    state : numpy dtype
        Record that the control keeps of a queue pair, zeros at first. Fields of type "i8" with these names are filled when the
        transfer is posted: ``packet_bytes``, a full packet's bytes on the wire; ``hops``, switches on the longest path;
        ``base_rtt_ps``, what a full packet takes there and its acknowledgement back while nothing else is under way.
    started : (...)
        The transfer starts; before its first packet.
    sent : (...)
        A packet is about to be sent, at the rate decided here. Told while ``heeds`` is 1, from ``heed_bytes`` or ``heed_ps``
        on, so that a control with counters and timers is not called for every packet; both are 0 at first.
    acknowledged : (..., size_bytes, marked_bytes, round_trip_ps)
        Packets have arrived: bytes on the wire, the part that was marked, and the time since the last of them was sent. Every
        packet counts as full.
    notified : (...)
        A congestion notification has arrived.
    lost : (..., timed_out)
        Packets are sent again: the receiver has asked for them (0), or nothing has arrived for a while (1).
    trimmed : (..., size_bytes)
        The receiver has asked for packets by number, of so many bytes on the wire, since they were trimmed or left a gap. Every
        packet counts as full. A control without this is told that they are lost.
    expired : (...)
        The time ``alarm_ps`` has come; it is NEVER again until set. Of a control without this nobody looks at ``alarm_ps``.
    """

    state: np.dtype[Any] = NOTHING
    started: Handler | None = None
    sent: Handler | None = None
    acknowledged: Handler | None = None
    notified: Handler | None = None
    lost: Handler | None = None
    trimmed: Handler | None = None
    expired: Handler | None = None


class ControlSettings(Declared):
    """Base of a congestion control's parameters; the class says what the control needs of switches and receivers."""

    #: Switches mark packets by the depth of their queues.
    marks: ClassVar[bool] = False
    #: They do so also on links into hosts.
    marks_last_hop: ClassVar[bool] = True
    #: Receivers acknowledge every ``ack_every_packets``, and ``window_bytes`` holds.
    acknowledged: ClassVar[bool] = False
    #: It lets paths rest: ``rest_ps`` of the path it was told of last.
    rests: ClassVar[bool] = False

    @property
    def notification_gap_s(self) -> float | None:
        """Least time between notifications of a queue pair that a receiver sends on marked packets; None: it sends none."""
        return None

    @property
    def every_packet(self) -> bool:
        """Whether receivers acknowledge every packet, whatever ``ack_every_packets``."""
        return False

    @property
    def telemetry_s(self) -> float | None:
        """Time T of in-band telemetry, above all round trips without queues; None: switches write none into packets."""
        return None

    def handlers(self) -> Handlers:
        """Return what the control does on events; kernels are imported here, so that settings can be read without them."""
        return Handlers()

    def record(self) -> np.ndarray:
        """Return the numbers among the parameters as one record [1]: times ``x_s`` as whole picoseconds ``x_ps``."""
        fields: list[tuple[str, str, float]] = []
        # In the order of names, so that no record begins as another does, which Numba would take for one of its kind.
        for name in sorted(type(self).model_fields):
            value = getattr(self, name)
            if not isinstance(value, (bool, int, float)):
                continue
            if name.endswith("_s"):
                fields.append((f"{name.removesuffix('_s')}_ps", "i8", picoseconds(value)))
            else:
                fields.append((name, "f8" if isinstance(value, float) else "i8", value))
        record = np.zeros(1, np.dtype([(name, form) for name, form, _ in fields]) if fields else NOTHING)
        for name, _, value in fields:
            record[name] = value
        return record
