"""Which engine moves packets, as settings alone decide it."""

from __future__ import annotations

import numpy as np

from zcube.network.link_set import LinkSet
from zcube.network.packet.build import idle_network
from zcube.network.packet.control import link_control
from zcube.network.packet.plain import is_plain
from zcube.network.packet.settings import PacketSettings


def has_plain_engine(settings: PacketSettings) -> bool:
    """Return whether networks with some settings are plain, and none of their stretches is skipped."""
    rates, sides = np.zeros(0), np.zeros(0, dtype=bool)
    tables = idle_network(LinkSet([], [], [], rates, rates, sides, sides), settings, 0.0)
    link_control(tables, settings.control)
    return settings.skip.mode == "off" and is_plain(tables.net)
