"""A sample of KV transfers between nodes by number, so that any placement of the nodes can carry the same one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray, IntArray
from zcube.inputs import Declared
from zcube.llm.rankmap import rank_map
from zcube.node import GPUS_PER_NODE
from zcube.seeds import stream


class KvLoad(Declared):
    """What prefill nodes send to decode nodes.

    The sizes are those of the KV funnel that this project's reference runs carry: log-normal, a mean of 4.2 GB (67.8 thousand
    tokens of GLM-5.1), sigma 0.7. ``utilisation`` is that of the busiest NICs of the side that is short of them.
    """

    prefill_nodes: int = Field(ge=1, le=100_000, description="nodes to seat")
    decode_nodes: int = Field(ge=1, le=100_000, description="nodes to seat")
    rank_map: str = Field(default="cp8-dp8", description="a named prefill-to-decode rank map")
    transfers: int = Field(default=500, ge=1, le=100_000, description="requests whose KV cache is sent")
    mean_bytes: float = Field(default=4.2e9, gt=0, le=1e15, description="mean size of a request's KV cache")
    sigma: float = Field(default=0.7, ge=0, le=3, description="standard deviation of the size's logarithm")
    utilisation: float = Field(default=0.45, gt=0, lt=1, description="of the busiest NICs")


@dataclass(frozen=True, eq=False)
class KvSample:
    """Flows of requests, nodes and GPUs apart.

    Attributes
    ----------
    request : int array [flows]
        Which request a flow belongs to, in order.
    prefill, decode : int array [flows]
        Number of the node in its pool.
    source_rank, target_rank : int array [flows]
        GPU in its node.
    size_bytes, start_s : float array [flows]
        What is sent, and when.
    """

    request: IntArray
    prefill: IntArray
    decode: IntArray
    source_rank: IntArray
    target_rank: IntArray
    size_bytes: FloatArray
    start_s: FloatArray


def kv_sample(load: KvLoad, nic_gbps: float, seed: int, gpus_per_node: int = GPUS_PER_NODE) -> KvSample:
    """Draw requests: nodes and ranks uniform, sizes log-normal, arrivals Poisson.

    Parameters
    ----------
    load : KvLoad
        What is drawn from.
    nic_gbps : float
        Line rate of a GPU's NIC, Gb/s.
    seed : int
        Of the draw.
    gpus_per_node : int
        GPUs of a node, whose layouts the rank map names.

    Raises
    ------
    InputError
        If there is no such rank map on such nodes.
    """
    rule = rank_map(load.rank_map, prefill_gpus=gpus_per_node, decode_gpus=gpus_per_node)
    draw = stream(seed, "KV transfers")
    count = load.transfers
    prefill, decode = draw.integers(load.prefill_nodes, size=count), draw.integers(load.decode_nodes, size=count)
    source, target = draw.integers(rule.prefill_dp, size=count), draw.integers(rule.decode_dp, size=count)
    size = draw.lognormal(np.log(load.mean_bytes) - load.sigma**2 / 2, load.sigma, count)
    table = {
        (one, other): rule.sends(one, other) for one in range(rule.prefill_dp) for other in range(rule.decode_dp)
    }  # fmt: skip
    busiest = [np.zeros(gpus_per_node), np.zeros(gpus_per_node)]
    for sends in table.values():
        for send in sends:
            busiest[0][send.source_rank] += send.fraction / len(table)
            busiest[1][send.target_rank] += send.fraction / len(table)
    nodes = (load.prefill_nodes, load.decode_nodes)
    per_s = min(n * nic_gbps * 1e9 / 8 / (load.mean_bytes * share.max()) for n, share in zip(nodes, busiest)) * load.utilisation
    start = np.cumsum(draw.exponential(1 / per_s, count))
    rows = [
        (request, send.source_rank, send.target_rank, send.fraction)
        for request, key in enumerate(zip(source.tolist(), target.tolist()))
        for send in table[key]
    ]
    request, source_rank, target_rank, fraction = (np.array(column) for column in zip(*rows))
    return KvSample(
        request, prefill[request], decode[request], source_rank, target_rank, size[request] * fraction, start[request]
    )
