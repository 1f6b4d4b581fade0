"""The plain network: one of whose features most are not used, which the engine is compiled for by itself.

Compiling all that a switch, a NIC or a receiver may do takes twice as long as what a network with PFC and a control of rates
does, and what is never done still has to be asked for at every packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from zcube.network.packet.state import NONE, NOWHERE, ONE_PATH

#: A link has one queue: its number is the link's, and whose turn it is need not be asked.
ONE_QUEUE: Mapping[str, int] = MappingProxyType({"class_shift": 0, "classes": 1})
#: Fields of NET that nothing changes while packets move, as they are in a plain network.
PLAIN: Mapping[str, int | float] = MappingProxyType(
    {
        "acknowledging": 0,
        "adaptive": NOWHERE,
        "avoided": 0,
        "choice": ONE_PATH,
        **ONE_QUEUE,
        "control": NONE,
        "failing": 0,
        "frozen": 0,
        "headers": NONE,
        "hold_bytes": 0,
        "matching": 0,
        "ordered": 0,
        "recalling": 0,
        "refresh": 0.0,
        "repeating": 0,
        "resting": 0,
        "second_class": 0,
        "selective": 0,
        "spanning": 0,
        "storm_ps": 0,
        "telemetry_ps": 0,
    }
)


def is_plain(net: np.ndarray) -> bool:
    """Return whether a network is plain, by its NET [1]."""
    return is_plain_but_for_queues(net) and all(net[field][0] == value for field, value in ONE_QUEUE.items())


def is_plain_but_for_queues(net: np.ndarray) -> bool:
    """Return whether a network is plain, or would be if its links had one queue each."""
    return all(net[field][0] == value for field, value in PLAIN.items() if field not in ONE_QUEUE)
