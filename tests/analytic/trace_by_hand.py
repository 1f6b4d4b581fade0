"""Walking a trace by hand: when everything ends on a network that is told, in plain Python."""

import numpy as np

from zcube.llm.layer_times import DecodeLayer, PrefillLayer
from zcube.trace.comm_trace import Kind


def ends_by_hand(trace, transfer_s=lambda row: 0.0, collective_s=lambda row: 0.0):
    """Return the end of every operation when transfers and collectives take the time given for their row."""
    # Lists, for reading an array number by number takes most of the time.
    kinds, durations_s = trace.kind.tolist(), trace.duration_s.tolist()
    compute, transfer = Kind.COMPUTE.value, Kind.TRANSFER.value
    ends = []
    for row, kind in enumerate(kinds):
        begin = max([ends[earlier] for earlier in trace.waits_for(row).tolist()], default=0.0)
        if kind == compute:
            ends.append(begin + durations_s[row])
        else:
            ends.append(begin + (transfer_s if kind == transfer else collective_s)(row))
    return np.array(ends, dtype=np.float64)


def named(trace, name):
    """Return the operations of a name."""
    return np.flatnonzero(trace.name == trace.names.index(name)) if name in trace.names else np.zeros(0, dtype=int)


def between_nodes(trace):
    """Return the transfers that leave their node."""
    size = trace.ranks_per_node
    return np.flatnonzero((trace.kind == Kind.TRANSFER) & (trace.source // size != trace.target // size))


def computes_one_at_a_time(trace):
    """Return whether no two computations of a GPU run at a time on a network without delay; KV set-up is the host's."""
    ends = ends_by_hand(trace)
    begins = ends - np.where(trace.kind == Kind.COMPUTE, trace.duration_s, 0.0)
    rows = trace.rows(Kind.COMPUTE)
    rows = rows[[not trace.names[name].startswith("kv-") for name in trace.name[rows]]]
    for rank in range(trace.ranks):
        mine = rows[trace.source[rows] == rank]
        if (begins[mine[1:]] < ends[mine[:-1]] - 1e-12).any():
            return False
    return True


class StatedTimes:
    """Layer times that are what the test says, in proportion to tokens or requests."""

    name = "stated"

    def __init__(self, attention_s=0.0, experts_s=0.0, projection_s=0.0, indexer_s=0.0):
        self._per_token = np.array([attention_s, projection_s, indexer_s, experts_s])

    def prefill_layer(self, new_tokens, prefix_tokens):
        attention, projection, indexer, experts = self._per_token * np.sum(new_tokens)
        return PrefillLayer(attention, projection, indexer, experts, 0.0, experts)

    def decode_layer(self, context_tokens, *, query_tokens=1, ep_nodes=1):
        attention, _, _, experts = self._per_token * np.size(context_tokens) * query_tokens
        return DecodeLayer(attention, experts, 0.0, experts, 0.0)
