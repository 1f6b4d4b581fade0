"""NVLink collectives with measured times: a device's lines, scaled between measured sizes to the measured times."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Line, NodeLinks
from zcube.llm.expert_traffic import (
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.node_links import resident_share
from zcube.llm.tables.read import Source, columns
from zcube.llm.tables.source import Rows
from zcube.node import GPUS_PER_NODE

#: SMs that DeepEP's normal mode takes; its default and the fitted lines' setting.
DEEPEP_SMS = 20
_ELEMENT_BYTES = 2
_PEERS_SHARE = (GPUS_PER_NODE - 1) / GPUS_PER_NODE


class MeasuredLine(Line):
    """A line with the logarithm of ``measured / line`` at measured sizes; between them it is linear in log size.

    Attributes
    ----------
    log_sizes, log_ratios : tuple of float
        Increasing logarithms of bytes, and of the ratio there; the outermost ratios hold beyond.
    """

    log_sizes: tuple[float, ...]
    log_ratios: tuple[float, ...]

    def seconds(self, size_bytes: float) -> float:
        """Return the time of ``size_bytes``."""
        log_ratio = np.interp(np.log(max(size_bytes, 1.0)), self.log_sizes, self.log_ratios)
        return super().seconds(size_bytes) * float(np.exp(log_ratio))


def measured_links(card: ModelCard, links: NodeLinks, source: Source, device: str) -> NodeLinks:
    """Return a node's collectives with measured times where the source has a table; the others stay as they are.

    all_reduce, decode_all_reduce: SGLang's custom all-reduce in a CUDA graph, 8 GPUs. gather: NCCL in fp16, 8 GPUs,
    geometric mean of all-gather and reduce-scatter. dispatch, combine, low_latency_*: DeepEP on one node for this
    model's hidden size and experts, if they were measured; bytes follow from the tokens as in :mod:`zcube.llm.node_links`.

    Raises
    ------
    InputError
        If a table is there but not usable.
    """
    found: dict[str, Line] = {}
    if source.find("all_reduce", device):
        size_bytes, seconds = _all_reduce(source, device)
        for name in ("all_reduce", "decode_all_reduce"):
            found[name] = _scaled(getattr(links, name), size_bytes, seconds)
    if source.find("nccl", device):
        found["gather"] = _scaled(links.gather, *_gather(source, device))
    if card.moe_layers and source.find("deepep_normal", device) and source.find("deepep_low_latency", device):
        for name, (size_bytes, seconds) in _deepep(card, source, device).items():
            found[name] = _scaled(getattr(links, name), size_bytes, seconds)
    return links.model_copy(update=found)


def _scaled(line: Line, size_bytes: FloatArray, seconds: FloatArray) -> MeasuredLine:
    log_size, which = np.unique(np.log(size_bytes), return_inverse=True)
    log_ratio = np.log(seconds / (line.base_us * 1e-6 + size_bytes / line.gbytes_per_s * 1e-9))
    mean = np.bincount(which, weights=log_ratio) / np.bincount(which)
    source = "interpolated between NVIDIA aiconfigurator's measured sizes"
    return MeasuredLine(
        base_us=line.base_us,
        gbytes_per_s=line.gbytes_per_s,
        source=source,
        log_sizes=tuple(log_size.tolist()),
        log_ratios=tuple(mean.tolist()),
    )


def _all_reduce(source: Source, device: str) -> tuple[FloatArray, FloatArray]:
    rows: Rows = {"num_gpus": GPUS_PER_NODE, "backend": "sglang_graph"}
    frame, path = source.frame("all_reduce", device, ("num_gpus", "message_size", "latency", "backend"), rows)
    elements, latency_ms = columns(frame[frame["message_size"] >= 1], ("message_size", "latency"), path)
    return elements * _ELEMENT_BYTES, latency_ms * 1e-3


def _gather(source: Source, device: str) -> tuple[FloatArray, FloatArray]:
    needed = ("op_name", "nccl_dtype", "num_gpus", "message_size", "latency")
    frame, path = source.frame("nccl", device, needed, {"num_gpus": GPUS_PER_NODE, "nccl_dtype": "half"})
    frame = frame[frame["op_name"].isin(["all_gather", "reduce_scatter"]) & (frame["message_size"] >= 1)]
    elements, latency_ms = columns(frame, ("message_size", "latency"), path)
    return elements * _ELEMENT_BYTES, latency_ms * 1e-3


def _deepep(card: ModelCard, source: Source, device: str) -> dict[str, tuple[FloatArray, FloatArray]]:
    model: Rows = {
        "node_num": 1,
        "hidden_size": card.hidden,
        "num_topk": card.experts_per_token,
        "num_experts": card.routed_experts,
    }
    normal: Rows = {**model, "dispatch_sms": DEEPEP_SMS, "combine_sms": DEEPEP_SMS}
    copies_per_token = GPUS_PER_NODE * resident_share(card, GPUS_PER_NODE) * _PEERS_SHARE
    messages_per_token = card.experts_per_token * _PEERS_SHARE
    sizes = {
        "dispatch": copies_per_token * normal_dispatch_bytes(card.hidden, card.experts_per_token),
        "combine": copies_per_token * normal_combine_bytes(card.hidden, card.experts_per_token),
        "low_latency_dispatch": messages_per_token * low_latency_dispatch_bytes(card.hidden),
        "low_latency_combine": messages_per_token * low_latency_combine_bytes(card.hidden),
    }
    times = {
        "dispatch": "dispatch_transmit_us",
        "combine": "combine_transmit_us",
        "low_latency_dispatch": "dispatch_avg_t_us",
        "low_latency_combine": "combine_avg_t_us",
    }
    found = {}
    for name, bytes_per_token in sizes.items():
        rows, table = (model, "deepep_low_latency") if name.startswith("low") else (normal, "deepep_normal")
        frame, path = source.frame(table, device, (*rows, "num_token", times[name]), rows)
        if frame.empty:
            continue
        tokens, latency_us = columns(frame[frame["num_token"] >= 1], ("num_token", times[name]), path)
        found[name] = (tokens * bytes_per_token, latency_us * 1e-6)
    return found
