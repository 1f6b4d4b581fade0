"""One serving run: a fabric's network model under a request trace."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import NetworkStoppedError
from zcube.fabric.model import Fabric
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.network.flow_model import ideal_model
from zcube.network.load_over_time import LoadOverTime
from zcube.network.protocol import NO_COLUMN, CompletionTable, FlowTable, LinkTable, NetworkModel
from zcube.progress import ShareDone
from zcube.serving.clock import Clock
from zcube.serving.cluster import Cluster
from zcube.serving.journey import Journeys
from zcube.serving.placement import place
from zcube.serving.prefill import Pause
from zcube.serving.reach import Reach
from zcube.serving.recording import Recorder
from zcube.serving.settings import ServingSettings
from zcube.serving.transfers import EXPERT, Posted, kinds_of
from zcube.serving.window import Window
from zcube.workload.requests import RequestTrace


@dataclass(frozen=True, eq=False)
class ServingRun:
    """What came of a run.

    Attributes
    ----------
    journeys : Journeys
        Per request.
    links : LinkTable
        Per directed link.
    flows : FlowTable
        Every transfer posted on the network, in order.
    flow_request : int array [flows]
        Whose KV a transfer carries, :data:`~zcube.serving.transfers.NOBODYS` of expert traffic, lower numbers of the store's.
    completions : CompletionTable
        When each transfer ended.
    ideal_sending_s : float array [flows]
        How long it would have sent on an ideal core, posted at the same times.
    end_s : float
        When the run ended.
    kv_alone_bps : float
        Rate of a KV transfer that has the NICs to itself: a GPU's line rate, all ports together, times ``kv.efficiency``.
    settings : ServingSettings
        What was asked for.
    window : Window
        Its steady state, or the whole run where that is too short for one.
    steps_at_end : int array [decode nodes]
        Steps of each node that had ended when the run did.
    pauses : list of list of Pause
        When each prefill instance waited for its own pushes, or for KV memory.
    stopped_by : str or None
        Why the network could not go on, if it could not; what was under way then has failed.
    names_links : bool
        Whether the network model says which links bounded transfers, as packets do not.
    load : LoadOverTime or None
        How full switches and links were over its window, where the network model was watched and its links are the fabric's.
    """

    journeys: Journeys
    links: LinkTable
    flows: FlowTable
    flow_request: IntArray
    completions: CompletionTable
    ideal_sending_s: FloatArray
    end_s: float
    kv_alone_bps: float
    settings: ServingSettings
    window: Window
    steps_at_end: IntArray
    pauses: list[list[Pause]]
    stopped_by: str | None = None
    names_links: bool = True
    load: LoadOverTime | None = None

    @cached_property
    def flow_kind(self) -> IntArray:
        """KV, expert or store traffic [flows]."""
        return kinds_of(self.flow_request)

    @property
    def links_in_window(self) -> LinkTable:
        """What links carried in the window; most subflows at once are those of the whole run."""
        return replace(self.links, size_bytes=self.window.carried_bytes)


def serve(
    fabric: Fabric,
    model: NetworkModel,
    trace: RequestTrace,
    settings: ServingSettings,
    card: ModelCard,
    compute: ComputeModel,
    progress: ShareDone = lambda share: None,
    recorder: Recorder | None = None,
    reach: Reach | None = None,
) -> ServingRun:
    """Serve a request trace to its end or to the load's horizon.

    Parameters
    ----------
    fabric : Fabric
        Servers to place nodes on.
    model : NetworkModel
        Idle; moves this fabric's bytes.
    trace : RequestTrace
        At least one request; already at the rate wanted.
    settings, card, compute
        Pools and load, model, compute times.
    progress : callable
        ``progress(share)``: the part of the run that is done, from prompts computed and requests ended, about as the wall clock
        sees it.
    recorder : Recorder, optional
        Told of all that is computed and sent.
    reach : Reach, optional
        Which pairs have no path, see :func:`zcube.serving.reach.reach_of`; default: all have one.

    Raises
    ------
    InputError
        If the pools do not fit the fabric.
    """
    env = Clock()
    placed, kv_alone_bps = place(fabric, settings), fabric.nic_gbps * 1e9 * settings.kv.efficiency
    kv_capped = settings.kv.efficiency < 1.0
    cluster = Cluster(
        env, model, trace, settings, placed, card, compute, progress, recorder or Recorder(), fabric.nic_gbps, reach,
        kv_alone_bps if kv_capped else None,
    )  # fmt: skip
    horizon_s, stopped_by = settings.load.horizon_s, None
    try:
        env.run(until=cluster.finished if horizon_s is None else cluster.finished | env.timeout(horizon_s))
        model.advance(float(env.now))
    except NetworkStoppedError as error:
        stopped_by = str(error)
        cluster.fail_rest()
    posted = cluster.transfers.posted()
    links, watch = model.link_table(), model.load_watch()
    journeys, window = cluster.journeys, cluster.watch.window(cluster.journeys, links.size_bytes)
    cluster.cut()
    journeys.close()
    pauses, steps_at_end = cluster.pauses(), cluster.steps_before(_just_after(float(env.now)))
    # Before the replay on an ideal core, which takes memory of its own.
    cluster.let_go()
    return ServingRun(
        journeys=journeys,
        links=links,
        flows=posted.flows,
        flow_request=posted.request,
        completions=model.completions().take(posted.number),
        ideal_sending_s=_on_ideal_core(fabric, posted, kv_capped, kv_alone_bps),
        end_s=float(env.now),
        kv_alone_bps=kv_alone_bps,
        stopped_by=stopped_by,
        names_links=model.fidelity != "packet",
        settings=settings,
        window=window,
        load=None if watch is None else LoadOverTime.of(fabric, watch, window.ends_s, *window.totals_bytes),
        pauses=pauses,
        steps_at_end=steps_at_end,
    )


def _just_after(time_s: float) -> float:
    """Return a time beyond all that equal another one up to the clock's rounding."""
    return math.nextafter(time_s + 4 * math.ulp(time_s), math.inf)


def _on_ideal_core(fabric: Fabric, posted: Posted, kv_capped: bool, kv_alone_bps: float) -> FloatArray:
    """Replay transfers at their recorded times on an ideal core; the same starts make the comparison fair per transfer."""
    model, (source, target) = ideal_model(fabric), posted.ends
    used = np.zeros(len(source), dtype=bool)
    used[posted.path] = True
    pair = model.paths(source[used], target[used])[np.cumsum(used)[posted.path] - 1]
    cap_bps = np.where(kinds_of(posted.request) != EXPERT, kv_alone_bps, np.inf) if kv_capped else NO_COLUMN
    model.run_in_turn(pair, posted.flows.size_bytes, posted.flows.start_s, cap_bps)
    return model.completions().sending_s(posted.flows.start_s)
