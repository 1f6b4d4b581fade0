"""The transfers of a trace as a flow list of ns-3's RDMA simulators (``flow.txt`` of HPCC).

A list has starts and no dependencies, so that each transfer stands at the time at which it would start if every transfer
had the network to itself. Rank ``i`` is node ``i``, as in a topology that is written from a fabric.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zcube.errors import Fault, InputError
from zcube.outputs import write_file
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import CommTrace, Kind
from zcube.trace.importers.ns3_flows import MOST_HPCC_BYTES
from zcube.trace.unloaded import unloaded_times

#: Rate at which transfers would go that have the network to themselves.
RATE_GBPS = 400.0
#: Priority group and port of HPCC's own lists.
_GROUP, _PORT = 3, 100


def write_flows(trace: CommTrace, path: Path) -> None:
    """Write the transfers of a trace, collectives as the transfers they are by default, in the order of their starts.

    Raises
    ------
    InputError
        If there is no transfer, or one is too large for the simulator, which holds sizes in 32 bits.
    """
    expanded = expand(trace)
    rows = expanded.rows(Kind.TRANSFER)
    if not len(rows):
        raise InputError(Fault(trace.source_name, "no transfer", "at least one for a flow list"))
    large = rows[expanded.size_bytes[rows] > MOST_HPCC_BYTES]
    if len(large):
        found = f"{len(large)} transfers of more than {MOST_HPCC_BYTES} bytes, the first operation {int(large[0])}"
        raise InputError(Fault(trace.source_name, found, "transfers that ns-3's 32 bits hold"))
    start_s, _ = unloaded_times(expanded, RATE_GBPS)
    rows = rows[np.lexsort((rows, start_s[rows]))]
    columns = (expanded.source[rows], expanded.target[rows], expanded.size_bytes[rows], start_s[rows])
    lines = (f"{a} {b} {_GROUP} {_PORT} {size} {start:.9f}\n" for a, b, size, start in zip(*(c.tolist() for c in columns)))

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{len(rows)}\n")
            file.writelines(lines)

    write_file(path, write)
