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

    fabrics: tuple[str, ...] = Field(min_length=1, max_length=MOST_ROWS)
    transports: tuple[str, ...] = Field(min_length=1, max_length=MOST_COLUMNS)
    seeds: int = Field(default=5, ge=1, le=1000, description="runs of each cell, under seed, seed + 1 and so on")
    seed: int = Field(default=0, ge=0, lt=1 << 62)
    fidelity: Fidelity = "packet"
    queue_pairs: int = Field(default=DEFAULT_QUEUE_PAIRS, ge=1, le=1024, description="of every column that sets none")
    cell_bytes: int | None = Field(default=None, ge=64, le=1 << 24)
    failed_links: int = Field(default=0, ge=0, le=1_000_000)
    slow_nics: int = Field(default=0, ge=0, le=1_000_000)
    slow_nic_share: float = Field(default=0.25, gt=0, le=1)
    price_book: str = Field(default="mixnet-2025", min_length=1, max_length=4096)
    optics: OpticsRule = "all-optical"
    memory_gb: float | None = Field(default=None, ge=0)

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
