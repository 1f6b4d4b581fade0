"""Measured times of tiles handed from GPU to GPU inside running kernels, and the JSON file they are kept in.

A file of schema version 1::

    {"schema_version": 1, "zcube_tiles": true, "hardware": "2x NVIDIA H200", "how": "...", "details": {...},
     "rows": [{"item": "signal", "variant": "push relaxed", "gpus": 2, "size_bytes": 4, "blocks": 1, "median_us": 0.695, ...}]}

What the items and variants are stands in docs/tilert.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zcube.calibrate.marked_files import is_marked, read_marked
from zcube.calibrate.points import MAX_SIZE_BYTES
from zcube.inputs import Declared

SCHEMA_VERSION = 1
MAX_ROWS = 20_000
#: Peers that a program of plain peer access reaches: the GPUs of one node.
MAX_GPUS = 8

Item = Literal[
    "signal",
    "fence",
    "push",
    "stream",
    "kernel-boundary",
    "barrier",
    "stage",
    "selection",
    "overlap",
    "index-list",
    "all-reduce",
]
#: No step of these takes a second, nor less than a picosecond: a time of zero was not measured.
LONGEST_US, SHORTEST_US = 1e6, 1e-6
Microseconds = Annotated[float, Field(ge=SHORTEST_US, le=LONGEST_US)]
#: ``1 query``, ``4 queries``: query tokens of a selection.
_QUERIES = re.compile(r"([1-9][0-9]{0,3}) quer(?:y|ies)", re.ASCII)


class TileRow(Declared):
    """One measured time.

    Attributes
    ----------
    item, variant : str
        What was timed, and how it was done.
    gpus : int
        GPUs that took part.
    size_bytes : int
        Bytes of one message, vector, stage's weights or the keys of a selection; flags not counted.
    blocks : int
        Thread blocks of each GPU that took part; 0 where a library chose them.
    median_us, p10_us, p90_us, min_us : float
        Over ``samples``, each the mean of many events in a row; no times of a row that timed out.
    samples : int
        Number of samples.
    correct : bool
        Whether everything that arrived was what had been sent.
    timed_out : bool
        Whether a wait inside a kernel was given up.
    computing : str
        ``overlap`` only: what the blocks do meanwhile, ``multiply-add`` or ``memory``.
    work, tiles : int
        ``overlap`` only: rounds of it a tile, and tiles a turn.
    nccl : int
        NCCL's version as its library gives it; 0 where it is none of NCCL's.
    """

    item: Item
    variant: str = Field(max_length=200)
    gpus: int = Field(ge=1, le=MAX_GPUS)
    size_bytes: int = Field(ge=0, le=MAX_SIZE_BYTES)
    blocks: int = Field(ge=0, le=4096)
    median_us: Microseconds
    p10_us: Microseconds
    p90_us: Microseconds
    min_us: Microseconds
    samples: int = Field(ge=1, le=1_000_000)
    correct: bool
    timed_out: bool = False
    computing: Literal["", "multiply-add", "memory"] = ""
    work: int = Field(default=0, ge=0, le=1_000_000)
    tiles: int = Field(default=0, ge=0, le=1_000_000)
    nccl: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TileRow:
        if not self.min_us <= self.p10_us <= self.median_us <= self.p90_us:
            raise ValueError("expected min_us, p10_us, median_us, p90_us in rising order")
        return self

    @model_validator(mode="after")
    def _fits_its_item(self) -> TileRow:
        if self.item == "selection" and _QUERIES.fullmatch(self.variant) is None:
            raise ValueError("expected a selection's variant to be its query tokens, such as '1 query' or '4 queries'")
        if self.item == "all-reduce" and (self.gpus < 2 or self.size_bytes < 1):
            raise ValueError("expected an all-reduce of one byte or more among two GPUs or more")
        return self

    @property
    def queries(self) -> int:
        """Query tokens of a selection; 0 for every other item."""
        found = _QUERIES.fullmatch(self.variant) if self.item == "selection" else None
        return int(found[1]) if found else 0

    @property
    def name(self) -> str:
        """What was timed, in words for a message."""
        return f"{self.item} {self.variant}, {self.gpus} GPUs, {self.size_bytes} B, {self.blocks} blocks"


class TileTimes(Declared):
    """All rows of one machine.

    Attributes
    ----------
    hardware : str
        GPU model and count.
    how : str
        How the times were taken.
    details : dict
        GPUs, links, driver and compiler.
    rows : tuple of TileRow
        In the order measured.
    schema_version : int
        Of the format.
    zcube_tiles : bool
        Marks the file as one.
    """

    schema_version: Literal[1] = 1
    zcube_tiles: Literal[True] = True
    hardware: str = Field(max_length=500, pattern=r"\S")
    how: str = Field(default="", max_length=4000)
    details: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[TileRow, ...] = Field(min_length=1, max_length=MAX_ROWS)

    @property
    def kinds(self) -> frozenset[str]:
        """Models of the GPUs, their counts left out."""
        return gpu_kinds(self.hardware)

    def wrong(self) -> list[str]:
        """Return the names of rows in which data arrived wrong or a wait was given up."""
        return [row.name for row in self.rows if row.timed_out or not row.correct]

    def of(self, item: str, variant: str | None = None, gpus: int | None = None) -> tuple[TileRow, ...]:
        """Return the rows of an item, of a variant and of a number of GPUs where these are given."""
        return tuple(
            row
            for row in self.rows
            if row.item == item and (variant is None or row.variant == variant) and (gpus is None or row.gpus == gpus)
        )


def gpu_kinds(hardware: str) -> frozenset[str]:
    """Return the GPU models in a text such as ``2x NVIDIA H200; 4x NVIDIA H200, 3 runs``, without counts."""
    pieces = (re.sub(r"^\d+x ", "", piece.strip(), flags=re.ASCII) for piece in re.split("[;,]", hardware))
    return frozenset(piece for piece in pieces if piece and re.fullmatch(r"\d+ runs", piece, re.ASCII) is None)


def is_tile_times(path: Path) -> bool:
    """Return whether a file says that it holds tile times; unreadable files do not."""
    return is_marked(path, "zcube_tiles")


def read_tile_times(path: Path) -> TileTimes:
    """Read a file of tile times; :class:`InputError` with every fault of it, or if it is none."""
    return read_marked(path, TileTimes, "zcube_tiles", "tile times")
