"""What every fidelity takes in and gives out, and the contract between a network model and what drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

    from zcube.network.load_watch import LoadWatch
    from zcube.routing.routes import Routes

#: ``ideal``: only NIC links limit; ``flow``: max-min fair fluid over the routes; ``lossless``: the same with back-pressure;
#: ``packet``: RoCE packet by packet.
Fidelity = Literal["ideal", "flow", "lossless", "packet"]

#: ``pooled``: all paths of a transfer draw from one pool of bytes, as an engine does that posts small slices to whichever
#: queue is free. ``fixed``: each path gets its share in advance and the slowest decides.
PathSplit = Literal["pooled", "fixed"]

#: A column that says the same of every transfer: nothing.
NO_COLUMN: FloatArray = np.zeros(0)

#: Links named in a summary.
HOT_LINKS = 10

#: Beyond these weights a path's share would drown in the rounding of the others'.
LEAST_WEIGHT, MOST_WEIGHT = 1e-3, 1e3


@dataclass(frozen=True, eq=False)
class FlowTable:
    """Transfers to be moved.

    Attributes
    ----------
    source, target : int array [flows]
        GPUs.
    size_bytes : float array [flows]
        Payload, > 0.
    start_s : float array [flows]
        When the sender posts it; see :class:`CompletionTable` for when its first byte leaves.
    cap_bps : float array [flows], optional
        Rate a transfer never exceeds, bits per second, split over its paths by their shares; infinity where there is none.
    weight : float array [flows], optional
        Weight of each of its paths in the sharing of a link; 1 unless given.
    message_start_s : float array [flows], optional
        What it takes before its first byte leaves, where that is known of the transfer itself; NaN: what its links say.
    traffic_class : int array [flows], optional
        1 for expert traffic, 0 for all other, which packets can keep apart; fluids do not.
    """

    source: IntArray
    target: IntArray
    size_bytes: FloatArray
    start_s: FloatArray
    cap_bps: FloatArray | None = None
    weight: FloatArray | None = None
    message_start_s: FloatArray | None = None
    traffic_class: IntArray | None = None

    def __len__(self) -> int:
        return len(self.source)

    def check(self, now_s: float) -> None:
        """Refuse what no network could carry.

        Raises
        ------
        ValueError
            If columns differ in length, a size or cap is not positive, a start is too early or a weight out of range.
        """
        for name in ("target", "size_bytes", "start_s", "cap_bps", "weight", "message_start_s", "traffic_class"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self):
                raise ValueError(f"{len(self)} transfers, but {len(column)} entries of {name}")
        if not np.all(np.isfinite(self.size_bytes)) or np.any(self.size_bytes <= 0):
            raise ValueError("transfer sizes must be positive and finite")
        if not np.all(np.isfinite(self.start_s)) or np.any(self.start_s < now_s):
            raise ValueError(f"transfers must start at or after {now_s} s")
        if self.cap_bps is not None and not np.all(self.cap_bps > 0):
            raise ValueError("caps must be positive")
        if self.traffic_class is not None and not np.all((self.traffic_class == 0) | (self.traffic_class == 1)):
            raise ValueError("traffic classes are 0 and 1")
        if self.weight is not None and not np.all((self.weight >= LEAST_WEIGHT) & (self.weight <= MOST_WEIGHT)):
            raise ValueError(f"weights must lie in {LEAST_WEIGHT:g}..{MOST_WEIGHT:g}")


@dataclass(frozen=True, eq=False)
class CompletionTable:
    """What became of transfers.

    A transfer is posted at ``start_s``, takes ``message_start_s`` before its first byte leaves and claims links from then on;
    its last byte arrives ``latency_s`` after it has left. Between the two it sends. So one that has the network to itself ends
    at ``start_s + message_start_s + size / rate + latency_s`` in every fidelity; packets add to the size what headers and the
    forwarding of whole packets take.

    Attributes
    ----------
    finish_s : float array [flows]
        When the last byte arrived; nan for a transfer still under way.
    message_start_s : float array [flows]
        What the message took before its first byte left; 0 unless measured.
    latency_s : float array [flows]
        Delay along the longest of its paths.
    mean_rate_bps : float array [flows]
        Size over the time of sending; nan for a transfer still under way.
    bound_link : int array [flows]
        Link that bounded it longest, -1 if none did.
    """

    finish_s: FloatArray
    message_start_s: FloatArray
    latency_s: FloatArray
    mean_rate_bps: FloatArray
    bound_link: IntArray

    def take(self, flows: IntArray) -> CompletionTable:
        """Return what became of some of them, in the order given."""
        return CompletionTable(*(getattr(self, field.name)[flows] for field in fields(self)))

    def sending_s(self, start_s: FloatArray) -> FloatArray:
        """Return how long transfers posted at ``start_s`` sent, message start and delay left out: what slow-downs count."""
        return self.finish_s - start_s - self.message_start_s - self.latency_s


@dataclass(frozen=True, eq=False)
class LinkTable:
    """What links carried, over the time a model has been run.

    Attributes
    ----------
    source, target : sequence of str
        Names of the nodes at the two ends.
    kind : sequence of str
        ``nic``, ``switch`` or ``nvlink``.
    capacity_bps : float array [links]
        Line rate, bits per second.
    size_bytes : float array [links]
        Bytes carried.
    peak_flows : int array [links]
        Most subflows that were active together.
    leaves_gpu, enters_gpu : bool array [links]
        Whether the link starts or ends at a GPU.
    """

    source: Sequence[str]
    target: Sequence[str]
    kind: Sequence[str]
    capacity_bps: FloatArray
    size_bytes: FloatArray
    peak_flows: IntArray
    leaves_gpu: BoolArray
    enters_gpu: BoolArray

    def utilisation(self, duration_s: float) -> FloatArray:
        """Return carried bits over what a link could have carried in a time, 0 for a failed link [links]."""
        possible = self.capacity_bps * max(duration_s, 0.0)
        return np.divide(self.size_bytes * 8.0, possible, out=np.zeros(len(possible)), where=possible > 0)

    def columns(self, duration_s: float) -> dict[str, Any]:
        """Return the columns of the table as written, with ``utilisation`` over a duration; docs/replay.md defines them."""
        return {
            "link": np.arange(len(self.capacity_bps)),
            "from": list(self.source),
            "to": list(self.target),
            "kind": list(self.kind),
            "capacity_bps": self.capacity_bps,
            "bytes": self.size_bytes,
            "peak_flows": self.peak_flows,
            "utilisation": self.utilisation(duration_s),
        }

    def frame(self, duration_s: float) -> pd.DataFrame:
        """Return :meth:`columns` as a table."""
        import pandas as pd

        return pd.DataFrame(self.columns(duration_s))

    def hottest(self, duration_s: float, *, nvlink: bool = True) -> dict[str, Any]:
        """Return the largest utilisation over a duration and the links of the largest ones, JSON-ready.

        Parameters
        ----------
        duration_s : float
            What utilisations are over.
        nvlink : bool
            Whether NVLink counts.

        Returns
        -------
        dict
            ``max_link_utilisation``, and in ``hot_links`` at most :data:`HOT_LINKS` links that carried anything, hottest first,
            of equals the one of the lower number.
        """
        used = self.utilisation(duration_s)
        if not nvlink:
            used[np.array(self.kind) == "nvlink"] = 0.0
        rows = [
            {
                "link": int(link),
                "from": self.source[link],
                "to": self.target[link],
                "utilisation": float(used[link]),
                "bytes": float(self.size_bytes[link]),
                "peak_flows": int(self.peak_flows[link]),
            }
            for link in np.argsort(-used, kind="stable")[:HOT_LINKS]
            if used[link] > 0
        ]
        return {"max_link_utilisation": float(used.max(initial=0.0)), "hot_links": rows}


class NetworkModel(Protocol):
    """A network on which transfers start while time runs.

    Times never go back: a transfer starts at or after the time last advanced to. ``ahead`` says whether transfers may be posted
    long before they start without another outcome.
    """

    fidelity: str
    ahead: bool

    @property
    def now_s(self) -> float:
        """The time last advanced to."""
        ...

    def send(self, flows: FlowTable, routes: Routes | None = None) -> IntArray:
        """Post transfers, over paths found beforehand if given, and return their numbers, consecutive in row order."""
        ...

    def paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths of pairs of GPUs once and for all, and return their numbers."""
        ...

    def open_group(self) -> int:
        """Return the number of a new group of transfers that are waited for together; it is free again when it has arrived."""
        ...

    def post(
        self, group: int, paths: IntArray, size_bytes: FloatArray, start_s: FloatArray, is_last: bool,
        cap_bps: FloatArray = NO_COLUMN, traffic_class: int = 0,
    ) -> None:  # fmt: skip
        """Post transfers of a group over paths found before, each below a cap if any; ``is_last`` where it is complete then."""
        ...

    def next_group_s(self) -> float:
        """Return a time before which no complete group arrives; infinity if there is none."""
        ...

    def advance_groups(self, to_s: float, unposted_s: float = 0.0) -> list[int]:
        """Run up to a time and return the groups that have arrived, in order of arrival.

        Where none has by then, a model may run on to the first arrival, but not to the time before which nothing is posted.
        """
        ...

    def next_event_s(self) -> float:
        """Return when something happens next; infinity when nothing is under way."""
        ...

    def advance(self, to_s: float) -> IntArray:
        """Run up to a time and return the transfers that completed, in order of completion."""
        ...

    def completions(self) -> CompletionTable:
        """Return what became of every transfer posted so far."""
        ...

    def link_table(self) -> LinkTable:
        """Return what every link has carried."""
        ...

    def load_watch(self) -> LoadWatch | None:
        """Return what has been read of links up to the time last advanced to, None where nothing was to be."""
        ...
