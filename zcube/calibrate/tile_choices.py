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

    ``launch``: a conventional engine's kernels are those of a CUDA graph, of one with programmatic dependent launch, or of a
    stream. ``put``: words that carry their flags, or one flag a block behind a fence. ``stage``: weights asked for after the
    vector has come, as TileRT's model has it (its ``overlap`` streams them early), or before.
    ``growth``: an all-reduce among eight GPUs from those measured among fewer, the time beyond its bytes growing with the
    number of peers, as the stores and polls of a one-shot all-reduce do, with each doubling of the GPUs, or ``none``: as one
    put.
    ``conventional_all_reduce``: the batched engine's device file has all-reduces measured among eight; ``measured`` replaces
    them only by such, ``extrapolated`` also by what ``growth`` gives.
    """

    launch: Literal["graph", "dependent", "stream"] = "graph"
    put: Literal["flag-a-word", "flag-a-block"] = "flag-a-word"
    stage: Literal["late", "early"] = "late"
    growth: Literal["peers", "doublings", "none"] = "peers"
    conventional_all_reduce: Literal["measured", "extrapolated"] = "measured"
    peak_memory_gbytes_per_s: Peak | None = Field(
        default=None, description="of the GPU measured, for memory_share; default: of the bundled device of that name"
    )
    peak_bf16_tflops: Peak | None = Field(
        default=None, description="of the GPU measured, for index_share; default: of the bundled device of that name"
    )


#: As documented.
DEFAULT = TileChoices()
