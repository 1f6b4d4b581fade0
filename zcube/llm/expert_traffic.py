"""Bytes of the expert all-to-all (DeepEP) between nodes.

Normal mode, used in prefill, sends a token once to every node that holds one of its experts, from a GPU to the GPU
of the same index (rail-aligned), and forwards inside the node; combine goes the same way back. Low-latency mode, used
in decode, sends one message per (token, expert) straight to the expert's owner. Message sizes: DeepEP source
(csrc/kernels), published with the library.
"""

from __future__ import annotations

from math import comb
from typing import Literal

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard

MAX_NODES = 4096
_SCALE_BLOCK = 128
_LOW_LATENCY_HEADER_BYTES = 16
_SOURCE_META_BYTES = 8


def low_latency_dispatch_bytes(hidden: int, dtype: Literal["fp8", "bf16"] = "fp8") -> int:
    """Return the bytes of one low-latency dispatch message, per token and selected expert.

    ``16 + H + 4 H / 128`` (fp8) or ``16 + 2 H`` (bf16): 7,408 for H = 7168, 6,352 for H = 6144 in fp8.
    """
    return _LOW_LATENCY_HEADER_BYTES + _payload_bytes(hidden, dtype)


def low_latency_combine_bytes(hidden: int) -> int:
    """Return the bytes of one low-latency combine message, per token and selected expert: ``2 H`` (bf16)."""
    return 2 * hidden


def normal_dispatch_bytes(hidden: int, experts_per_token: int = 8, dtype: Literal["fp8", "bf16"] = "fp8") -> int:
    """Return the bytes of one normal-mode dispatch message, per token and destination node.

    Payload, 8 bytes of source metadata, top-k indices and weights, rounded up to 16: 7,472 for H = 7168, 6,416
    for H = 6144 in fp8.
    """
    return _align16(_payload_bytes(hidden, dtype) + _SOURCE_META_BYTES + 8 * experts_per_token)


def normal_combine_bytes(hidden: int, experts_per_token: int = 8) -> int:
    """Return the bytes of one normal-mode combine message, per token and node: 14,384 or 12,336 for H = 6144."""
    return _align16(2 * hidden + _SOURCE_META_BYTES + 4 * experts_per_token)


def _payload_bytes(hidden: int, dtype: str) -> int:
    if dtype not in ("fp8", "bf16"):
        raise InputError(Fault("dispatch dtype", repr(dtype), "fp8 or bf16"))
    return hidden + 4 * (hidden // _SCALE_BLOCK) if dtype == "fp8" else 2 * hidden


def _align16(size_bytes: int) -> int:
    return -(-size_bytes // 16) * 16


def hit_probability(card: ModelCard, owners: int) -> float:
    """Return the chance that a token has at least one expert on a given one of ``owners`` equal owners.

    Without group limit ``1 - (1 - 1/D)**k``: k uniform experts drawn as if with replacement (DeepEP's usual
    estimate; drawing without replacement gives 0.4 % more at D = 4). With a group limit the token first picks
    ``expert_groups_per_token`` of the groups uniformly, then its experts uniformly in those; that whole groups lie on
    one owner (D <= groups), or that a group spreads over D / groups owners, in order, is inferred.

    Raises
    ------
    InputError
        If ``owners`` is out of range, or neither divides the groups nor is a multiple of them.
    """
    if not 1 <= owners <= MAX_NODES:
        raise InputError(Fault("expert-parallel nodes", str(owners), f"1 .. {MAX_NODES}"))
    groups, chosen, experts = card.expert_groups, card.expert_groups_per_token, card.experts_per_token
    if groups == chosen:
        return 1.0 - (1.0 - 1.0 / owners) ** experts
    if owners >= groups:
        if owners % groups:
            raise InputError(Fault("expert-parallel nodes", str(owners), f"a multiple of {groups} expert groups"))
        spread = owners // groups
        return chosen / groups * (1.0 - (1.0 - 1.0 / (chosen * spread)) ** experts)
    if groups % owners:
        raise InputError(Fault("expert-parallel nodes", str(owners), f"a divisor of {groups} expert groups"))
    here = groups // owners
    return sum(
        comb(here, k) * comb(groups - here, chosen - k) / comb(groups, chosen) * (1.0 - (1.0 - k / chosen) ** experts)
        for k in range(1, min(here, chosen) + 1)
    )
