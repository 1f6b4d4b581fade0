"""What is asked of a fabric, as a file or options declare it."""

from __future__ import annotations

from pydantic import Field

from zcube.fabric.spec import MAX_GPUS
from zcube.inputs import Declared
from zcube.node import GPUS_PER_NODE


class Demand(Declared):
    """How many GPUs are joined, by which NICs and switches."""

    gpus: int = Field(ge=2, le=MAX_GPUS, description="GPUs in the cluster")
    gpus_per_server: int = Field(default=GPUS_PER_NODE, ge=1, le=256)
