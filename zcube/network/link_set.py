"""The directed links that transfers run over: all of a fabric's, or the few of an ideal core with the paths over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.measured import NO_START, MessageStart
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.routes import Routes, assemble, check_pairs


@dataclass(frozen=True, eq=False)
class LinkSet:
    """Directed links, by number.

    Attributes
    ----------
    source, target, kind : list of str
        Names of the ends and kind of each link, for results.
    capacity_bps, latency_s : float array [links]
        Rate and delay of each directed link.
    leaves_gpu, enters_gpu : bool array [links]
        Whether the link starts or ends at a GPU.
    nic_start, nvlink_start : MessageStart
        What a message takes beside its bytes, by what it leaves its GPU through.
    """

    source: list[str]
    target: list[str]
    kind: list[str]
    capacity_bps: FloatArray
    latency_s: FloatArray
    leaves_gpu: BoolArray
    enters_gpu: BoolArray
    nic_start: MessageStart = NO_START
    nvlink_start: MessageStart = NO_START

    def message_start_s(self, routes: Routes, size_bytes: FloatArray, known_s: FloatArray | None = None) -> FloatArray:
        """Return what each message takes beside its bytes [flows]; 0 for one without a path.

        Parameters
        ----------
        routes : Routes
            Paths of the messages.
        size_bytes : float array [flows]
            Their payload.
        known_s : float array [flows], optional
            What takes the place of the links' own start; NaN where nothing does.
        """
        start_s = np.zeros(routes.flows)
        if self.nic_start.size_bytes or self.nvlink_start.size_bytes:
            routed = np.flatnonzero(routes.routed)
            first, size = routes.first_link[routes.first_subflow[routed]], size_bytes[routed]
            start_s[routed] = np.where(self._is_nvlink[first], self.nvlink_start.of(size), self.nic_start.of(size))
        return start_s if known_s is None else np.where(np.isnan(known_s) | ~routes.routed, start_s, known_s)

    @cached_property
    def _is_nvlink(self) -> BoolArray:
        return np.array(self.kind) == "nvlink"

    @staticmethod
    def of_fabric(fabric: Fabric) -> LinkSet:
        """Return every directed link of a fabric."""
        names = np.array(fabric.node_names, dtype=object)
        kinds = np.array([kind.name.lower() for kind in CableKind], dtype=object)
        return LinkSet(
            names[fabric.link_source].tolist(),
            names[fabric.link_target].tolist(),
            np.repeat(kinds[fabric.cables.kind], 2).tolist(),
            fabric.link_capacity_bps,
            fabric.link_latency_s,
            fabric.link_source < fabric.gpus,
            fabric.link_target < fabric.gpus,
            fabric.nic_start,
            fabric.nvlink_start,
        )

    @staticmethod
    def of_ideal_core(fabric: Fabric) -> LinkSet:
        """Return an ideal core: per GPU its NIC out and in (all ports as one), then its NVLink out and in."""
        gpu = fabric.node_names[: fabric.gpus]
        core, nvswitch = ["core"] * fabric.gpus, ["nvswitch"] * fabric.gpus
        outward = np.arange(4 * fabric.gpus) // fabric.gpus % 2 == 0
        nic = np.tile(fabric.cables.gbps[fabric.nic_cable].sum(axis=1) * 1e9, 2)
        nvlink = np.tile(fabric.cables.gbps[fabric.nvlink_cable] * 1e9, 2)
        nic_latency = np.tile(fabric.cables.latency_s[fabric.nic_cable[:, 0]], 2)
        nvlink_latency = np.tile(fabric.cables.latency_s[fabric.nvlink_cable], 2)
        return LinkSet(
            [*gpu, *core, *gpu, *nvswitch],
            [*core, *gpu, *nvswitch, *gpu],
            ["nic"] * (2 * fabric.gpus) + ["nvlink"] * (2 * fabric.gpus),
            np.concatenate([nic, nvlink]),
            np.concatenate([nic_latency, nvlink_latency]),
            outward,
            ~outward,
            fabric.nic_start,
            fabric.nvlink_start,
        )


@dataclass(frozen=True)
class IdealRouting:
    """Routes over an ideal core: out of the source's NIC, into the target's; NVLink inside a server."""

    fabric: Fabric
    name: str = "ideal"

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one subflow of two links per pair."""
        source, target = check_pairs(self.fabric, source, target)
        gpus = self.fabric.gpus
        inside = np.where(self.fabric.server_of(source) == self.fabric.server_of(target), 2 * gpus, 0)
        hops = np.stack([inside + source, inside + gpus + target], axis=1)
        return assemble(np.ones(len(source), dtype=np.int64), hops)
