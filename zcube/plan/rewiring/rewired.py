"""A better wiring of a fabric for a traffic: found by arithmetic, chosen and judged packet by packet against an ideal core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.fabric.families import families
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.recabling import recabled
from zcube.fabric.wiring.formats import fabric_text, read_links
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.input_files import is_file
from zcube.inputs import Declared, assign, read_toml, resolve_declared, toml_value, validate
from zcube.network.packet.model import PacketModel, ideal_packet_model, packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.plan.rewiring.exchanges import ExchangeSettings, Wiring, wirings_found
from zcube.plan.rewiring.loads import Spread, WiringLoads
from zcube.plan.rewiring.traffic import Funnel, ListedTransfers, Traffic
from zcube.progress import Progress, silent
from zcube.replays.packets import run_packets
from zcube.routing.catalog import DEFAULT, routing_for
from zcube.routing.routes import Routing

QUANTILES = (0.5, 0.99)
#: Packets that judge, as in the packet benchmark's crude model: cells of 32 KiB, no congestion control, pauses per cable at 32
#: cells, on again at 24, in the ideal core too. With thresholds that share a buffer an ideal core never pauses a sender.
CELL_BYTES = 32 * 1024
PACKET: dict[str, Any] = {
    "packet_payload_bytes": CELL_BYTES,
    "header_bytes": 0,
    "congestion_control": "none",
    "pfc_threshold": "static",
    "xoff_bytes": 32 * CELL_BYTES,
    "xon_gap_bytes": 8 * CELL_BYTES,
    "buffer_bytes": 1 << 40,
    "pause_frame_bytes": 0,
}
#: What stands for the funnel with all its defaults.
FUNNEL = "funnel"
TOPOLOGY_FILE, CABLES_FILE, LINKS_FILE = "rewired.toml", "cables.csv", "rewired.links.csv"


class WiringDemand(Declared):
    """What a wiring is looked for, and how it is judged."""

    funnel: Funnel = Funnel()
    search: ExchangeSettings = ExchangeSettings()
    packet: PacketSettings = Field(
        default=PacketSettings(**PACKET),
        description="of the packets that judge; lossless back-pressure alone, where wirings differ most",
    )
    routing: str = Field(default=DEFAULT, max_length=60, description="policy of the packets that judge; default: the family's")
    queue_pairs: int = Field(default=1, ge=1, le=1024, description="per transfer, where paths are hashed")
    judged: int = Field(default=3, ge=1, le=100, description="wirings that packets are run on, the most even ones")
    samples: int = Field(default=3, ge=1, le=100, description="of transfers, others than chose, by which the wiring is judged")


@dataclass(frozen=True, eq=False)
class WiringTask:
    """What a wiring is looked for, read and checked.

    Attributes
    ----------
    demand : WiringDemand
        As declared.
    traffic : Traffic
        What is sent.
    declared : dict
        Keys of the fabric's topology file, and its links where it names a file of them.
    """

    demand: WiringDemand
    traffic: Traffic
    declared: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Rewired:
    """A wiring that was found, beside the one there is.

    Attributes
    ----------
    fabric : Fabric
        As it stands.
    wiring : Wiring
        Which cables each GPU has.
    before : Spread
        How evenly the wiring there is spreads the traffic.
    over_ideal : mapping of float array [samples, 2]
        P50 and P99 of transfer times over those of an ideal core, ``before`` and ``after``.
    ideal_s : float array [samples, 2]
        Those of the ideal core, seconds.
    moved : int
        NIC cables whose switch end is another.
    task : WiringTask
        What was asked.
    """

    fabric: Fabric
    wiring: Wiring
    before: Spread
    over_ideal: dict[str, FloatArray]
    ideal_s: FloatArray
    moved: int
    task: WiringTask

    @property
    def rewired(self) -> Fabric:
        """The fabric with the wiring found."""
        return recabled(self.fabric, self.wiring.cabled_as)

    def texts(self) -> dict[str, str]:
        """Return files by name: a topology that every verb reads, links it names, the cable schedule."""
        data = dict(self.task.declared)
        before, texts = data.get("cabled_as"), {}
        if "links" in data:
            texts[LINKS_FILE], data["links"] = data["links"], LINKS_FILE
        cabled_as = self.wiring.cabled_as if before is None else np.array(before)[self.wiring.cabled_as]
        data["cabled_as"] = cabled_as.tolist()
        texts[TOPOLOGY_FILE] = "".join(f"{key} = {toml_value(value)}\n" for key, value in data.items())
        texts[CABLES_FILE] = fabric_text(self.rewired, "schedule", RackLayout(), "by-length")
        return texts

    def document(self) -> dict[str, Any]:
        """Return what was found, JSON-ready."""
        rows = {}
        for name, (fullest, squares) in (("before", self.before), ("after", self.wiring.spread)):
            p50, p99 = self.over_ideal[name].mean(axis=0).tolist()
            rows[name] = {
                "fullest_link_over_fullest_nic": fullest,
                "sum_of_squares": squares,
                "p50_over_ideal": p50,
                "p99_over_ideal": p99,
                "p99_over_ideal_by_sample": self.over_ideal[name][:, 1].tolist(),
            }
        return {
            **rows,
            "ideal_p50_s": self.ideal_s[:, 0].tolist(),
            "ideal_p99_s": self.ideal_s[:, 1].tolist(),
            "nic_cables_moved": self.moved,
            "nic_cables": int((self.fabric.cables.kind == CableKind.NIC).sum()),
            "demand": self.task.demand.model_dump(mode="json"),
        }


def wiring_task(traffic: str, reference: str, fabric: Fabric, changes: Sequence[str] = ()) -> WiringTask:
    """Read what a wiring is looked for.

    Parameters
    ----------
    traffic : str
        ``funnel``; a TOML file with keys of :class:`WiringDemand`; or a list of transfers as ``zcube replay`` reads it.
    reference : str
        What the fabric was loaded by: bundled topology or topology file.
    fabric : Fabric
        What is wired.
    changes : sequence of str
        ``KEY=VALUE`` of the keys.

    Raises
    ------
    InputError
        With every fault.
    """
    if traffic != FUNNEL and not is_file(traffic):
        raise InputError(Fault("--wire", traffic, f"{FUNNEL}, a TOML file of a funnel, or a list of transfers"))
    where = "--wire-set " if changes else f"{traffic}: "
    faults, is_list = FaultList(), traffic != FUNNEL and not traffic.endswith(".toml")
    demand, sent, declared = WiringDemand(), None, {}
    with faults:
        data = read_toml(Path(traffic)) if traffic.endswith(".toml") else {}
        assign(data, changes, "--wire-set")
        packet = data.get("packet", {})
        # What is not said of packets is as here, not as the packets' own defaults.
        data["packet"] = {**PACKET, **packet} if isinstance(packet, dict) else packet
        demand = validate(WiringDemand, data, (where + "{}").format)
    with faults:
        sent = ListedTransfers.read(Path(traffic), fabric) if is_list else demand.funnel.checked(fabric, f"{where}funnel")
    with faults:
        declared = _declared(reference)
    faults.check()
    assert sent is not None
    return WiringTask(demand, sent, declared)


def _declared(reference: str) -> dict[str, Any]:
    """Return the keys of a topology, links it names by their text."""
    if FAILURES_AFTER in reference and not is_file(reference):
        raise InputError(Fault("--from", reference, "a fabric with nothing failed"))
    path = resolve_declared(reference, "topologies")
    data = read_toml(path)
    if not families()[data["family"]].recables:
        raise InputError(Fault("--from", f"{reference}, {data['family']}", "a family whose routing goes by cables alone"))
    return data | ({"links": read_links(path.parent / data["links"]).to_csv()} if "links" in data else {})


def rewire(fabric: Fabric, task: WiringTask, seed: int = 0, progress: Progress = silent) -> Rewired:
    """Look for a wiring.

    Exchanges of cables that spread the traffic more evenly are kept; of the most even wirings, and that there is, packets
    choose the one of least P99; it and the one there is are judged by other transfers.

    Parameters
    ----------
    fabric : Fabric
        What is wired; its own wiring is where the search begins.
    task : WiringTask
        From :func:`wiring_task`.
    seed : int
        Of the search and of the transfers.
    progress : Progress
        Told what is under way.

    Raises
    ------
    InputError
        If the routing is not one of the fabric's.
    """
    demand, traffic = task.demand, task.traffic

    def route(wired: Fabric) -> Routing:
        return routing_for(wired, demand.routing, queue_pairs=demand.queue_pairs, seed=seed)

    loads = WiringLoads(fabric, route, traffic.pairs(fabric))
    own = np.arange(fabric.gpus)
    there = Wiring(own, loads.spread(loads.of(own)))
    found = wirings_found(
        loads, demand.search, seed, lambda done, total: progress("exchanging cables", done, total, "exchanges")
    )
    wirings = [there, *(one for one in found[: demand.judged] if one.spread < there.spread)]
    runs, total = _Runs(progress), len(wirings) + 3 * demand.samples
    judged = _Judging(fabric, route, traffic, demand.packet, runs, total)
    chosen = min(wirings, key=lambda one: (judged.quantiles_s(one.cabled_as, seed)[1], one.spread))
    seeds = [seed + 1 + number for number in range(demand.samples)]
    ideal = np.array([judged.quantiles_s(None, one) for one in seeds])
    before = np.array([judged.quantiles_s(own, one) for one in seeds]) / ideal
    after = before if chosen is there else np.array([judged.quantiles_s(chosen.cabled_as, one) for one in seeds]) / ideal
    ends = [one.cables.b[one.nic_cable] for one in (fabric, recabled(fabric, chosen.cabled_as))]
    moved = int((ends[0] != ends[1]).sum())
    return Rewired(fabric, chosen, there.spread, {"before": before, "after": after}, ideal, moved, task)


@dataclass
class _Runs:
    """Counts runs of packets."""

    progress: Progress
    done: int = 0


@dataclass(frozen=True, eq=False)
class _Judging:
    """Runs packets over wirings."""

    fabric: Fabric
    route: Callable[[Fabric], Routing]
    traffic: Traffic
    settings: PacketSettings
    runs: _Runs
    total: int

    def quantiles_s(self, cabled_as: IntArray | None, seed: int) -> FloatArray:
        """Return :data:`QUANTILES` of transfer times on a wiring, or on an ideal core."""
        fabric = self.fabric
        flows, settings = self.traffic.sample(fabric, seed), self.settings.model_copy(update={"seed": seed})
        if cabled_as is None:
            model = ideal_packet_model(fabric, settings)
        else:
            wired = recabled(fabric, cabled_as)
            model = packet_model(wired, self.route(wired), settings)
        taken_s = self._run(model, flows)
        return np.asarray(np.quantile(taken_s[self.traffic.warm_up :], QUANTILES))

    def _run(self, model: PacketModel, flows: FlowTable) -> FloatArray:
        model.send(flows)
        makespan_s = float(flows.start_s.max()) + float(flows.size_bytes.max()) * 8e-9 / self.fabric.nic_gbps

        def tell(done: float, total: float) -> None:
            self.runs.progress("judging wirings by packets", 100 * (self.runs.done + done / total), 100 * self.total, "%")

        run_packets(model, makespan_s, tell)
        self.runs.done += 1
        return np.asarray(model.completions().finish_s - flows.start_s)
