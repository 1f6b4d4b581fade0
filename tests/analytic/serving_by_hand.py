"""Serving runs small enough to be worked out by hand: constant compute times, hand-made traces, GLM-5.1's KV cache.

Every GPU has 400 Gb/s = 50 GB/s, an ideal core delays by two cables of 0.5 us.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.llm.cards import load_card
from zcube.llm.stated_error import StatedError
from zcube.network.flow_model import ideal_model
from zcube.network.protocol import NetworkModel
from zcube.serving.run import ServingRun, serve
from zcube.serving.settings import ServingSettings
from zcube.workload.requests import RequestTrace

#: How well a run agrees with what is worked out by hand.
EXACT = {"rel": 1e-9, "abs": 1e-12}

NIC_BYTES_PER_S = 50e9
IDEAL_LATENCY_S = 1e-6
TOKEN_S = 1e-4
STEP_S = 0.01
SETUP_S = 0.00037


class ConstantTimes:
    """A token of a prompt always takes ``token_s``, a decode step ``step_s``, whatever else is in the batch."""

    name = "constant"
    stated_error: Mapping[str, StatedError] = {}
    exchanges = None

    def __init__(self, token_s: float = TOKEN_S, step_s: float = STEP_S):
        self.token_s, self.step_s = token_s, step_s

    def prefill_iteration_s(self, new_tokens, prefix_tokens) -> float:
        assert len(new_tokens) == len(prefix_tokens) and min(new_tokens) >= 1 and min(prefix_tokens) >= 0
        return self.token_s * float(np.sum(new_tokens))

    def decode_steps_s(self, context_tokens, steps: int):
        assert len(context_tokens) and steps >= 1
        return np.full(steps, self.step_s)


def latents_by_hand(pages: int) -> float:
    """Pages of 64 fp8 rows of 656 B in GLM-5.1's 78 layers and the draft layer (SGLang)."""
    return 79.0 * 64 * 656 * pages


def index_by_hand(pages: int) -> float:
    """Index pages of 8,448 B in as many layers (SGLang, TileRT); they go out with the end of a prompt."""
    return 79.0 * 8448 * pages


def kv_by_hand(tokens: int) -> float:
    """SGLang sends by page number, so that a last page that is not full goes out whole."""
    pages = -(-tokens // 64)
    return latents_by_hand(pages) + index_by_hand(pages)


def alone_s(size_bytes: float) -> float:
    return size_bytes / NIC_BYTES_PER_S + IDEAL_LATENCY_S


def trace_of(arrival_s, input_tokens, output_tokens, blocks=None, block_tokens: int = 0, after=(), delay_s=()) -> RequestTrace:
    count = len(input_tokens)
    rows = blocks or [[] for _ in range(count)]
    return RequestTrace(
        name="by hand",
        source="worked out by hand",
        arrival_s=np.array(arrival_s, dtype=float),
        input_tokens=np.array(input_tokens),
        output_tokens=np.array(output_tokens),
        block_tokens=block_tokens,
        first_block=np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(int),
        block_id=np.array([block for row in rows for block in row], dtype=int),
        session=np.full(count, -1),
        after=np.array(after, dtype=int),
        delay_s=np.array(delay_s, dtype=float),
    )


def settings_of(*, prefill=None, decode=None, kv=None, **tables) -> ServingSettings:
    return ServingSettings.model_validate(
        {
            "prefill": {"nodes": 1, **(prefill or {})},
            "decode": {"nodes": 1, **(decode or {})},
            "kv": {"setup_s": SETUP_S, **(kv or {})},
            **tables,
        }
    )


@cache
def fabric_of(name: str) -> Fabric:
    return load_fabric(name)


def run_by_hand(
    trace: RequestTrace,
    settings: ServingSettings,
    compute: ConstantTimes | None = None,
    fabric: str = "roft-256",
    model: NetworkModel | None = None,
) -> ServingRun:
    wired = fabric_of(fabric)
    return serve(wired, model or ideal_model(wired), trace, settings, load_card("glm-5.1"), compute or ConstantTimes())


def close(value, expected) -> None:
    assert value == pytest.approx(expected, **EXACT)
