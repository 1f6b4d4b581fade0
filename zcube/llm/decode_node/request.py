"""What one request costs a TileRT node in time: making its cache ready once it has come, then a step after the other.

The times of steps are those of :mod:`zcube.llm.decode_node.step`, tabulated between the contexts at which their slope changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import DecodeNode
from zcube.llm.decode_node.step import step_s
from zcube.llm.kv import PAGE_TOKENS, KvDtype, KvLayout, index_row_bytes, latent_row_bytes
from zcube.node import GPUS_PER_NODE

#: The cache as the node keeps it.
KEPT = KvLayout("bf16", with_mtp_layer=True)
#: How far a table of steps may be from the steps themselves.
TABLE_ERROR = 1e-9


class RequestTimes:
    """Times of one request on one node.

    Parameters
    ----------
    card, node
        Model and node.
    kv_dtype : str
        How the cache comes in.
    drafts : int
        Drafts a step.
    accepted_tokens : float
        Tokens that a step yields on average, 1 .. ``drafts + 1``.
    convert_gbytes_per_s : float, optional
        Rate at which GPU 0 reads what has come and writes what it keeps; default: ``memory_share`` of its peak.
    inject_efficiency : float
        Part of the NVLink rate at which GPU 0 copies latents to its seven peers.

    Raises
    ------
    InputError
        If the tokens a step yields are out of range, or drafts are asked of a model without prediction layer.
    """

    def __init__(
        self, card: ModelCard, node: DecodeNode, kv_dtype: KvDtype, drafts: int, accepted_tokens: float,
        convert_gbytes_per_s: float | None = None, inject_efficiency: float = 1.0,
    ):  # fmt: skip
        if not 1.0 <= accepted_tokens <= drafts + 1:
            raise InputError(Fault("accepted tokens", repr(accepted_tokens), f"1 .. {drafts + 1} (drafts + 1)"))
        peak = node.device.peak
        self._accepted = accepted_tokens
        self._contexts, self._seconds = _step_table(_Steps(card, node, drafts))
        self._convert_bytes_per_s = (convert_gbytes_per_s or node.memory_share * peak.memory_gbytes_per_s) * 1e9
        self._inject_bytes_per_s = inject_efficiency * peak.nvlink_gbytes_per_s * 1e9
        came = KvLayout("fp8" if kv_dtype == "fp8" else "bf16+fp8-index", with_mtp_layer=True)
        self._layers, self._kept_bytes = KEPT.layers(card), latent_row_bytes(card, KEPT)
        #: A token's bytes in a layer that are read and written, and those read of a page of index keys.
        self._token_bytes = index_row_bytes(card, KEPT)
        if came.dtype == "fp8":
            self._token_bytes += latent_row_bytes(card, came) + self._kept_bytes
        self._page_bytes = index_row_bytes(card, came) * PAGE_TOKENS

    def convert_s(self, tokens: int) -> float:
        """Return the time to turn a cache that has come into bf16 on GPU 0: index keys, and latents that came in fp8."""
        size_bytes = self._layers * (self._token_bytes * tokens + self._page_bytes * -(-tokens // PAGE_TOKENS))
        return size_bytes / self._convert_bytes_per_s

    def inject_s(self, tokens: int) -> float:
        """Return the time in which GPU 0 copies the latents to its seven peers over NVLink."""
        return (GPUS_PER_NODE - 1) * self._layers * self._kept_bytes * tokens / self._inject_bytes_per_s

    def steps(self, context_tokens: int, tokens: int) -> tuple[FloatArray, IntArray]:
        """Return the steps that make an answer's next tokens.

        Parameters
        ----------
        context_tokens : int
            In the cache before the first step.
        tokens : int
            To make, at least 1.

        Returns
        -------
        tuple of arrays [steps]
            The time of each step, and how many of the tokens are out after it: ``accepted_tokens`` a step, whole ones.
        """
        count = int(np.ceil(tokens / self._accepted - 1e-9))
        out = np.minimum(np.floor(np.arange(1, count + 1) * self._accepted + 1e-9).astype(np.int64), tokens)
        contexts = context_tokens + np.concatenate([[0], out[:-1]])
        return np.interp(contexts, self._contexts, self._seconds), out


@dataclass(frozen=True)
class _Steps:
    """What a table of steps is made of; equal where all that it says is equal."""

    card: ModelCard = field(compare=False)
    node: DecodeNode = field(compare=False)
    drafts: int
    said: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", (self.card.model_dump_json(), self.node.model_dump_json()))


# Fabrics and seeds of a comparison have the same nodes, and a table takes as long as a short run.
@lru_cache(maxsize=16)
def _step_table(steps: _Steps) -> tuple[FloatArray, FloatArray]:
    """Return contexts, the last one the longest that a step may have, and the times of their steps."""

    @cache
    def seconds(context: int) -> float:
        return step_s(steps.card, steps.node, context, steps.drafts)

    last = steps.card.max_positions - steps.drafts - 1
    contexts = sorted({0, last, *_bends(seconds, 0, last)})
    return np.array(contexts, dtype=np.float64), np.array([seconds(context) for context in contexts])


def _bends(seconds: Callable[[int], float], first: int, last: int) -> set[int]:
    """Return contexts between two others that a straight line does not meet, and where to part what it does not meet."""
    if last - first < 2:
        return set()
    at = sorted({first + (last - first) * part // 8 for part in range(1, 8)} - {first, last})
    line = np.interp(at, [first, last], [seconds(first), seconds(last)])
    found = np.array([seconds(context) for context in at])
    if np.abs(found / line - 1.0).max() <= TABLE_ERROR:
        return set()
    middle = (first + last) // 2
    return {middle} | _bends(seconds, first, middle) | _bends(seconds, middle, last)
