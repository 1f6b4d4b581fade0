"""What is asked of a matrix: rows, columns, seeds, and what holds for all of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zcube.fabric.optics import OpticsRule
from zcube.inputs import Declared
from zcube.matrix.conditions import Conditions
from zcube.network.protocol import Fidelity
from zcube.routing.catalog import DEFAULT_QUEUE_PAIRS

MOST_ROWS = MOST_COLUMNS = 32


class MatrixSettings(Declared):
    """The options of ``zcube matrix``; the first fabric and the first transport are what others are compared with."""

    fabrics: tuple[str, ...] = Field(
        min_length=1, max_length=MOST_ROWS, description="rows; the first is what others are compared with"
    )
    transports: tuple[str, ...] = Field(
        min_length=1, max_length=MOST_COLUMNS, description="columns; the first is what others are compared with"
    )
    seeds: int = Field(default=5, ge=1, le=1000, description="runs of each cell, under seed, seed + 1 and so on")
    seed: int = Field(default=0, ge=0, lt=1 << 62, description="the first")
    fidelity: Fidelity = Field(default="packet", description="how bytes move, alike in every cell")
    queue_pairs: int = Field(default=DEFAULT_QUEUE_PAIRS, ge=1, le=1024, description="of every column that sets none")
    cell_bytes: int | None = Field(
        default=None, ge=64, le=1 << 24, description="payload of packets merged into one; default: the source's own"
    )
    failed_links: int = Field(
        default=0, ge=0, le=1_000_000, description="cables between switches that fail, drawn anew for each seed"
    )
    slow_nics: int = Field(default=0, ge=0, le=1_000_000, description="GPUs whose NIC is slow, drawn anew for each seed")
    slow_nic_share: float = Field(default=0.25, gt=0, le=1, description="part of its rate that a slow NIC has")
    price_book: str = Field(default="mixnet-2025", min_length=1, max_length=4096, description="bundled price book, or a file")
    optics: OpticsRule = Field(default="all-optical", description="rule of cables and modules")
    memory_gb: float | None = Field(
        default=None, ge=0, description="most memory a run may use, 1e9 bytes; default: what is available"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name, values in (("fabrics", self.fabrics), ("transports", self.transports)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}, each once")
        return self

    @property
    def conditions(self) -> Conditions:
        """What fabrics suffer."""
        return Conditions(self.failed_links, self.slow_nics, self.slow_nic_share)
