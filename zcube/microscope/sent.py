"""What a run's transfers would have taken alone, and how much of each was left at some moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.alone import alone_s
from zcube.network.carrier import Carrier
from zcube.network.flow_model import POSTED_AT_ONCE, FlowModel
from zcube.network.fluid_state import NONE
from zcube.network.protocol import NO_COLUMN, FlowTable
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV

#: Parts of a transfer's time by itself, and seconds, below which an excess is rounding.
ROUNDING, ROUNDING_S = 1e-6, 1e-11


@dataclass(frozen=True, eq=False)
class Sent:
    """A run's transfers, in the order of their starts, and what they met.

    Attributes
    ----------
    flows : FlowTable
        What was sent when, with the cap of each if any has one.
    pair, ends : int array [flows], pair of int array [pairs]
        Number of the pair of GPUs of each, and sources and targets of all pairs.
    begin_s, end_s : float array [flows]
        When each began and ended to send; those that had not ended when the run did, then.
    arrived_s : float array [flows]
        When the last byte was there; infinity where it never was.
    excess_s : float array [flows]
        How much longer each sent than it would have with the network to itself; 0 where that is rounding.
    """

    flows: FlowTable
    pair: IntArray
    ends: tuple[IntArray, IntArray]
    begin_s: FloatArray
    end_s: FloatArray
    arrived_s: FloatArray
    excess_s: FloatArray

    @staticmethod
    def of(carrier: Carrier, run: ServingRun) -> Sent:
        """Take the transfers of a run over a fabric."""
        flows, done = run.flows, run.completions
        if run.settings.kv.efficiency < 1.0:
            flows = replace(flows, cap_bps=np.where(run.flow_kind == KV, run.kv_alone_bps, np.inf))
        key, pair = np.unique(flows.source * carrier.fabric.gpus + flows.target, return_inverse=True)
        ends = key // carrier.fabric.gpus, key % carrier.fabric.gpus
        begin_s = flows.start_s + done.message_start_s
        end_s = np.fmax(np.where(np.isnan(done.finish_s), run.end_s, done.finish_s - done.latency_s), begin_s)
        longer_s = end_s - begin_s - _alone_s(carrier, flows, pair, ends)
        least_s = ROUNDING * (end_s - begin_s) + ROUNDING_S
        return Sent(
            flows, pair, ends, begin_s, end_s, np.where(np.isnan(done.finish_s), np.inf, done.finish_s),
            np.where(longer_s > least_s, longer_s, 0.0),
        )  # fmt: skip

    def left_at(self, carrier: Carrier, moments_s: Sequence[float]) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield for each moment, in ascending order, which transfers posted before it are under way, and their bytes left.

        The fluid is run again from the last moment before at which nothing was under way.
        """
        start_s = self.flows.start_s
        before_s = np.concatenate([[-np.inf], np.maximum.accumulate(self.arrived_s)[:-1]])
        fresh = np.flatnonzero(start_s > before_s)
        model, paths, first, posted = carrier.fluid(), NO_PATHS, 0, 0
        for moment_s in moments_s:
            until = int(np.searchsorted(start_s, moment_s, side="left"))
            idle = int(fresh[int(np.searchsorted(fresh, until, side="left")) - 1]) if until else 0
            if not len(paths) or idle >= posted:
                model, first, posted = carrier.fluid(), idle, idle
                paths = model.paths(*self.ends)
            self._post(model, paths, posted, until)
            posted = max(posted, until)
            model.advance(moment_s)
            left = model.left_bytes()
            under_way = np.flatnonzero(left > 0)
            yield first + under_way, left[under_way]

    def _post(self, model: FlowModel, paths: IntArray, first: int, until: int) -> None:
        """Post transfers some at a time, so that those that have ended leave the room of those that come."""
        cap_bps = self.flows.cap_bps
        for begin in range(first, until, POSTED_AT_ONCE):
            some = slice(begin, min(begin + POSTED_AT_ONCE, until))
            model.advance(float(self.flows.start_s[begin]))
            caps = NO_COLUMN if cap_bps is None else cap_bps[some]
            model.post(NONE, paths[self.pair[some]], self.flows.size_bytes[some], self.flows.start_s[some], False, caps)


NO_PATHS: IntArray = np.zeros(0, dtype=np.int64)


def _alone_s(carrier: Carrier, flows: FlowTable, pair: IntArray, ends: tuple[IntArray, IntArray]) -> FloatArray:
    """Return how long each would send with the network to itself: so much a bit, by pair of GPUs and cap [flows]."""
    routes, pooled = carrier.routing.routes(*ends), carrier.network.path_split == "pooled"
    caps = np.full(len(flows), np.inf) if flows.cap_bps is None else flows.cap_bps
    one_bit, taken_s = np.ones(len(ends[0])), np.zeros(len(flows))
    for cap_bps in np.unique(caps):
        column = np.full(len(one_bit), cap_bps)
        a_bit_s = alone_s(routes, carrier.link_set.capacity_bps, one_bit, column, pooled)
        some = caps == cap_bps
        taken_s[some] = a_bit_s[pair[some]] * 8.0 * flows.size_bytes[some]
    return taken_s
