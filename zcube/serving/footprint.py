"""How many transfers a serving run is going to post, roughly, before it starts."""

from __future__ import annotations

import numpy as np

from zcube.serving.settings import ServingSettings
from zcube.workload.requests import RequestTrace


def expected_transfers(trace: RequestTrace, settings: ServingSettings) -> int:
    """Return about how many transfers a run posts; prefix caches that lose what was in them make it more.

    What an unlimited cache leaves of a prompt is computed, and its KV pushed, in as many pieces as it has chunks, and one more
    where it shares its first chunk with the prompt before it. Each piece pushes one transfer per pair of ranks. Where an
    instance spans nodes, the GPUs of a node with a piece also send to those of the same rail in the other nodes, in every
    burst; pieces of prompts that are bound to wait together are one iteration's. Decode counts as if every GPU had one request:
    then its bursts post, for each of a request's, what one GPU sends; fuller batches post less. A pipeline posts one transfer
    for each GPU of every stage but the last, in every piece and burst.
    """
    new_tokens = np.maximum(trace.input_tokens - trace.ideal_hits() * trace.block_tokens, 1)
    pieces = int((-(-new_tokens // settings.prefill.chunk_tokens) + 1).sum())
    ranks = settings.ranks
    per_push = max(len(ranks.sends(source, target)) for source in range(ranks.prefill_dp) for target in range(ranks.decode_dp))
    pushes = pieces if settings.kv.push == "per-chunk" else len(trace)
    prefill, decode = settings.prefill, settings.decode
    iterations = int(pieces / _waiting(settings, float(new_tokens.mean())))
    exchanged = iterations * prefill.expert_bursts * (prefill.nodes_per_instance - 1) * prefill.gpus_per_node
    peers = (decode.nodes_per_instance - 1) * (decode.gpus_per_node if decode.expert_pairs == "all" else 1)
    exchanged += iterations * (prefill.pipeline_stages - 1) * prefill.stage_gpus
    peers += (decode.pipeline_stages - 1) * decode.stage_gpus
    bursts = int((-(-trace.output_tokens // decode.expert_burst_steps)).sum() / _together(settings))
    store = settings.store_servers * settings.cache.store.nics
    blocks = np.minimum(store, trace.input_tokens // trace.block_tokens) if trace.block_tokens else np.zeros(1)
    # A prompt is read once at most, and written once.
    pushes_of_store = 2 * int(blocks.sum())
    return pushes_of_store + pushes * per_push + exchanged + bursts * peers


def _waiting(settings: ServingSettings, new_tokens: float) -> float:
    """Return how many prompts are taken to share a prefill node's iteration, 1 or more.

    In a closed loop those that decode has no place for, dealt to the nodes, as far as a chunk has room for them.
    """
    load, prefill, decode = settings.load, settings.prefill, settings.decode
    waiting = load.concurrency - decode.places * decode.nodes if load.mode == "closed" else 0
    return max(1.0, min(waiting / prefill.nodes, prefill.chunk_tokens / new_tokens))


def _together(settings: ServingSettings) -> float:
    """Return how many requests a decode GPU is taken to have, 1 or more."""
    load, decode = settings.load, settings.decode
    held = min(load.concurrency / 2, decode.places * decode.nodes) if load.mode == "closed" else 0
    return max(1.0, held / (decode.gpus_per_node * decode.nodes))
