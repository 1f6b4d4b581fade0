"""Which kernels a replay has so little work for that compiling them would take longer than running them as they are written."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from zcube.network.carrier import Carrier
from zcube.network.packet.settings import PacketSettings
from zcube.warm import OF_PACKETS
from zcube.workload.flow_lists import FlowList

#: Transfers whose paths and fluid take Python half a second where all of them share a link; under back-pressure a turn of the
#: fixed point goes over all of them, up to sixty times an event.
LITTLE_FLOWS, LITTLE_PRESSED_FLOWS = 200, 30

#: Packets, or cells, that take Python two to five seconds, 100 to 250 microseconds each over four to six links, where compiling
#: an engine takes five, eight if the network is not plain.
LITTLE_PACKETS = 20_000

#: Groups that a list of few transfers needs.
OF_FLUID = "routing", "posting", "flow"

#: A longer file has more transfers than these.
SHORT_FILE_BYTES = 1 << 16


def may_be_little(path: Path) -> bool:
    """Return whether a list of transfers has to be read to know if it is little."""
    try:
        return path.stat().st_size <= SHORT_FILE_BYTES
    except OSError:
        return True


def little_groups(carrier: Carrier, flows: FlowList) -> Collection[str]:
    """Return the groups of kernels, see :mod:`zcube.warm`, that have little to do.

    Runs with bins of time are not counted as little, since nothing bounds these, nor are those with a calibration, which are
    repeated for its rounds.
    """
    network, packet = carrier.network, carrier.packet
    if network.bin_s > 0 or carrier.measured is not None:
        return ()
    if len(flows) > (LITTLE_PRESSED_FLOWS if network.fidelity == "lossless" else LITTLE_FLOWS):
        return ()
    return (*OF_FLUID, *OF_PACKETS) if packet and _is_little(packet, flows) else OF_FLUID


def _is_little(packet: PacketSettings, flows: FlowList) -> bool:
    # What another package's kernels do as written is not known.
    is_known = packet.skip.mode == "off" and type(packet.control).__module__.startswith("zcube.")
    return is_known and float(np.ceil(flows.size_bytes / packet.unit_payload_bytes).sum()) <= LITTLE_PACKETS
