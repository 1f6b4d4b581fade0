"""What the packet fidelity asks of a list of transfers, and how it is run to its end."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.network.packet.model import LATEST_START_S, MOST_PACKETS, PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.workload.flow_lists import FlowList

#: Transfers named in a fault, of each kind.
LISTED_TRANSFERS = 10
#: Part of the fluid's makespan that a run simulates first before it tells its progress; wall time later steps aim at.
FIRST_STEP, STEP_TAKES_S = 1e-4, 0.2
#: Least time a step simulates.
LEAST_STEP_S = 1e-7


def check_for_packets(flows: FlowList, start_s: FloatArray, settings: PacketSettings) -> None:
    """Refuse what a list of transfers may say and the packet model cannot simulate.

    Parameters
    ----------
    flows : FlowList
        As listed.
    start_s : float array [flows]
        Starts since the first.
    settings : PacketSettings
        Parameters.

    Raises
    ------
    InputError
        If a weight is not 1, a start is beyond the clock, or a transfer has more packets than can be numbered.
    """
    faults, most_bytes = [], MOST_PACKETS * settings.unit_payload_bytes
    large = np.flatnonzero(flows.size_bytes > most_bytes)
    late = np.flatnonzero(start_s > LATEST_START_S)
    heavy = np.flatnonzero(flows.weight != 1) if flows.weight is not None else np.zeros(0, dtype=np.int64)
    for rows, values, name, expected in (
        (large, flows.size_bytes, "bytes", f"at most {most_bytes:,} with --fidelity packet; more with a larger --cell-bytes"),
        (late, flows.start_s, "start_s", f"at most {LATEST_START_S / 86400:g} days after the first with --fidelity packet"),
        (heavy, flows.weight, "weight", "1 or no such column with --fidelity packet: a NIC serves its queue pairs in turn"),
    ):
        named = rows[:LISTED_TRANSFERS].tolist()
        if values is not None and named:
            faults += [Fault(f"{place}: {name}", f"{values[row]:g}", expected) for row, place in zip(named, flows.where(named))]
            if len(rows) > len(named):
                faults.append(Fault(name, f"{len(rows) - len(named)} more of these", "none; the first ones are listed above"))
    if faults:
        raise InputError(faults)


def run_packets(model: PacketModel, fluid_makespan_s: float, progress: Callable[[int, int], None]) -> None:
    """Run posted transfers to their end, telling several times a second how many packets' payload of how many has arrived.

    Parameters
    ----------
    model : PacketModel
        With all transfers posted.
    fluid_makespan_s : float
        How long these take in a fluid, roughly; the first step is a small part of it.
    progress : callable
        ``progress(arrived, total)``.
    """
    total = max(1, -(-model.posted_bytes // model.settings.unit_payload_bytes))
    step_s, reached_s = max(fluid_makespan_s * FIRST_STEP, LEAST_STEP_S), 0.0
    while (next_s := model.next_event_s()) < float("inf"):
        # Between transfers nothing happens; within them steps keep to the wall clock, which changes no result.
        reached_s = (max(next_s, reached_s) if model.under_way == 0 else reached_s) + step_s
        began_s = time.monotonic()
        model.advance(reached_s)
        taken_s = time.monotonic() - began_s
        step_s = max(LEAST_STEP_S, step_s * min(2.0, max(0.1, STEP_TAKES_S / max(taken_s, 1e-9))))
        progress(min(total - 1, model.received_bytes // model.settings.unit_payload_bytes), total)
    # What is still under way beside the transfers is counted whole, wherever the last step ended.
    model.advance(float("inf"))
    progress(total, total)
