"""Which of the measured ways stand for a decode node's figures: choices that nobody published."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zcube.inputs import Declared

#: Part, and all-reduce, by how a kernel of a conventional engine starts.
KERNELS = {
    "graph": ("kernel_us", "graph_us"),
    "dependent": ("dependent_kernel_us", "dependent_us"),
    "stream": ("stream_kernel_us", None),
}
PUTS = {"flag-a-word": "put_us", "flag-a-block": "fenced_put_us"}
STAGES = {"late": "stage_us", "early": "early_stage_us"}

Peak = Annotated[float, Field(gt=0, le=1e6)]


class TileChoices(Declared):
    """How tile parts are taken.

    An all-reduce among eight GPUs, of which two smaller numbers were measured, grows beyond its bytes with the number of peers,
    as the stores and polls of a one-shot all-reduce do, or with each doubling of the GPUs.
    """

    launch: Literal["graph", "dependent", "stream"] = Field(
        default="graph", description="how a conventional engine starts kernels; dependent: graph with programmatic launch"
    )
    put: Literal["flag-a-word", "flag-a-block"] = Field(
        default="flag-a-word", description="a put's flags: in its words, or one a block behind a fence"
    )
    stage: Literal["late", "early"] = Field(
        default="late", description="when a stage asks for its weights: after the vector has come, or before"
    )
    growth: Literal["peers", "doublings", "none"] = Field(
        default="peers", description="of an all-reduce from fewer GPUs to eight; none: as one put"
    )
    conventional_all_reduce: Literal["measured", "extrapolated"] = Field(
        default="measured",
        description="what replaces the device's, measured among eight: only such, or what growth gives too",
    )
    peak_memory_gbytes_per_s: Peak | None = Field(
        default=None, description="of the GPU measured, for memory_share; default: of the bundled device of that name"
    )
    peak_bf16_tflops: Peak | None = Field(
        default=None, description="of the GPU measured, for index_share; default: of the bundled device of that name"
    )
