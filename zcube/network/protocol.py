"""What every fidelity takes in and gives out, and the contract between a network model and what drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from zcube.fabric.model import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd


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
        When the sender posts it.
    """

    source: IntArray
    target: IntArray
    size_bytes: FloatArray
    start_s: FloatArray

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, eq=False)
class CompletionTable:
    """What became of transfers.

    Attributes
    ----------
    finish_s : float array [flows]
        When the last byte arrived; nan for a transfer still under way.
    latency_s : float array [flows]
        Delay along the longest of its paths, contained in ``finish_s``.
    """

    finish_s: FloatArray
    latency_s: FloatArray


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
        """Return carried bits over what a link could have carried in a time [links]."""
        if duration_s <= 0:
            return np.zeros(len(self.size_bytes))
        return self.size_bytes * 8.0 / (self.capacity_bps * duration_s)

    def frame(self, duration_s: float) -> pd.DataFrame:
        """Return the table with a ``utilisation`` column over a duration."""
        import pandas as pd

        return pd.DataFrame(
            {
                "from": list(self.source),
                "to": list(self.target),
                "kind": list(self.kind),
                "capacity_bps": self.capacity_bps,
                "size_bytes": self.size_bytes,
                "peak_flows": self.peak_flows,
                "utilisation": self.utilisation(duration_s),
            }
        )


class NetworkModel(Protocol):
    """A network on which transfers start while time runs.

    Times never go back: a transfer starts at or after the time last advanced to.
    """

    fidelity: str

    def send(self, flows: FlowTable) -> IntArray:
        """Post transfers and return their numbers, consecutive in row order."""
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
