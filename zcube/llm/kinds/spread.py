"""How a layout spreads one layer's attention over the GPUs of a node."""

from __future__ import annotations

from dataclasses import dataclass

from zcube.llm.layout import layout_of
from zcube.node import GPUS_PER_NODE


@dataclass(frozen=True, slots=True)
class Spread:
    """One GPU's part.

    Attributes
    ----------
    slices : int
        GPUs among which heads are sliced; 1: every GPU has all of them.
    work_share : float
        Part of a node's new tokens, or of their work, that is this GPU's.
    prefix_share : float
        Part of the cached tokens that it reads: every GPU all of them under context parallelism, its own requests' under
        data parallelism.
    """

    slices: int
    work_share: float
    prefix_share: float

    def heads(self, count: int) -> int:
        """Return the heads of a GPU, of ``count``: where there are fewer than GPUs, each is held by several."""
        return max(1, -(-count // self.slices))


def spread_of(layout: str, gpus: int = GPUS_PER_NODE) -> Spread:
    """Return the spread of a layout, ``tp8`` say, over the GPUs of a stage; see :func:`zcube.llm.layout.layout_of`."""
    sizes = layout_of(layout, gpus)
    return Spread(sizes.tp, 1.0 / (sizes.cp * sizes.dp), 1.0 / sizes.dp)
