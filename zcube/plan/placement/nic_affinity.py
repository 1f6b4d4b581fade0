"""Which local NIC port a prefill GPU sends by, and at which port of which GPU that arrives, as the routing has it.

An engine that opens queue pairs between the wrong ports makes traffic cross the fabric where it was not meant to, or finds no
path. The map holds one rule per pair of GPU numbers that the rank map uses: the paths of most pairs of servers. Pairs of
servers that have other paths, as after failures, stand as exceptions. Ports are named as in cable schedules (``gpu5p0``), or
by the engine's own names if these are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.cages import cage_name
from zcube.fabric.model import CableKind, Fabric
from zcube.llm.rankmap import RankMap
from zcube.node import GPUS_PER_NODE
from zcube.routing.routes import Routes, Routing
from zcube.serving.placement import Placed

#: Exceptions listed; the rest is counted.
MAX_EXCEPTIONS = 1000
#: Pairs of GPUs routed at once.
ROUTED_AT_ONCE = 1 << 16


class NicPair(NamedTuple):
    """GPU and NIC port that a path leaves by, in the sender's server, and that it arrives at, in the receiver's."""

    local_gpu: int
    local_port: int
    peer_gpu: int
    peer_port: int


@dataclass(frozen=True, slots=True)
class AffinityMap:
    """NIC pairs by pair of GPU numbers.

    Attributes
    ----------
    fabric, routing, rank_map : str
        What it was derived from.
    placed : Placed
        Servers by role.
    rules : dict
        By (sender's GPU number, receiver's): NIC pairs of its paths.
    exceptions : tuple
        (prefill server, decode server, sender's GPU, receiver's, NIC pairs) where they are others.
    exception_count : int
        All of them.
    nic_names : tuple of str
        Name of each NIC port, GPU by GPU.
    """

    fabric: str
    routing: str
    rank_map: str
    placed: Placed
    rules: dict[tuple[int, int], tuple[NicPair, ...]]
    exceptions: tuple[tuple[int, int, int, int, tuple[NicPair, ...]], ...]
    exception_count: int
    nic_names: tuple[str, ...]
    gpus_per_node: int = GPUS_PER_NODE

    def document(self) -> dict[str, Any]:
        """Return the map as JSON-ready data, for an engine to read."""
        return {
            "fabric": self.fabric,
            "routing": self.routing,
            "rank_map": self.rank_map,
            "prefill_servers": list(self.placed.prefill),
            "decode_servers": list(self.placed.decode),
            "rules": [
                {"source_gpu": source, "target_gpu": target, "paths": self._paths(pairs)}
                for (source, target), pairs in sorted(self.rules.items())
            ],
            "exception_count": self.exception_count,
            "exceptions": [
                {
                    "prefill_server": prefill,
                    "decode_server": decode,
                    "source_gpu": source,
                    "target_gpu": target,
                    "paths": self._paths(pairs),
                }
                for prefill, decode, source, target, pairs in self.exceptions
            ],
        }

    def _paths(self, pairs: Sequence[NicPair]) -> list[dict[str, Any]]:
        ports = len(self.nic_names) // self.gpus_per_node
        return [
            {
                "local": {
                    "gpu": pair.local_gpu,
                    "port": pair.local_port,
                    "nic": self.nic_names[pair.local_gpu * ports + pair.local_port],
                },
                "peer": {
                    "gpu": pair.peer_gpu,
                    "port": pair.peer_port,
                    "nic": self.nic_names[pair.peer_gpu * ports + pair.peer_port],
                },
            }
            for pair in pairs
        ]


def nic_affinity(
    fabric: Fabric, routing: Routing, placed: Placed, ranks: RankMap, nic_names: Sequence[str] | None = None
) -> AffinityMap:
    """Derive the NIC-affinity map of a placement from the routing.

    Parameters
    ----------
    fabric : Fabric
        The fabric.
    routing : Routing
        Bound to it.
    placed : Placed
        Servers by role.
    ranks : RankMap
        Which GPUs of two nodes talk.
    nic_names : sequence of str, optional
        The engine's names of a server's NIC ports, GPU by GPU, port by port, e.g. ``mlx5_0``.

    Raises
    ------
    InputError
        If there are more or fewer names than NIC ports.
    """
    size = fabric.gpus_per_server
    ports = size * fabric.nic_ports
    if nic_names is not None and len(nic_names) != ports:
        raise InputError(Fault("nic names", f"{len(nic_names)} names", f"{ports}, one a NIC port of a server"))
    names = nic_names or [cage_name(gpu, port, 0) for gpu in range(size) for port in range(fabric.nic_ports)]
    talking = sorted(
        {
            (send.source_rank, send.target_rank)
            for one in range(ranks.prefill_dp)
            for other in range(ranks.decode_dp)
            for send in ranks.sends(one, other)
        }
    )
    port_of = _port_of_cable(fabric)
    rules: dict[tuple[int, int], tuple[NicPair, ...]] = {}
    exceptions: list[tuple[int, int, int, int, tuple[NicPair, ...]]] = []
    count = 0
    pairs = [(one, other) for one in placed.prefill for other in placed.decode]
    for source, target in talking:
        kinds, of_pair = _nic_pairs(fabric, routing, pairs, source, target, port_of)
        usual = int(np.argmax(np.bincount(of_pair, minlength=len(kinds))))
        rules[source, target] = kinds[usual]
        others = np.flatnonzero(of_pair != usual).tolist()
        count += len(others)
        exceptions += [(*pairs[at], source, target, kinds[of_pair[at]]) for at in others[: MAX_EXCEPTIONS - len(exceptions)]]
    return AffinityMap(fabric.name, routing.name, ranks.name, placed, rules, tuple(exceptions), count, tuple(names), size)


def _nic_pairs(
    fabric: Fabric, routing: Routing, pairs: list[tuple[int, int]], source: int, target: int, port_of: IntArray
) -> tuple[list[tuple[NicPair, ...]], IntArray]:
    """Return the NIC pairs that occur, paths in order, each once, and which of them each pair of servers has."""
    kinds: dict[tuple[NicPair, ...], int] = {}
    of_pair = np.zeros(len(pairs), dtype=np.int64)
    server, size = np.array(pairs, dtype=np.int64), fabric.gpus_per_server
    for at in range(0, len(pairs), ROUTED_AT_ONCE):
        some = server[at : at + ROUTED_AT_ONCE]
        routes = routing.routes(some[:, 0] * size + source, some[:, 1] * size + target)
        width = int(routes.paths_per_flow.max(initial=0))
        rows = np.full((routes.flows, width, 4), -1, dtype=np.int64)
        rows[np.arange(width) < routes.paths_per_flow[:, None]] = _nic_ends(fabric, routes, port_of)
        distinct, of_flow = np.unique(rows.reshape(routes.flows, -1), axis=0, return_inverse=True)
        numbers = []
        for row in distinct.reshape(len(distinct), width, 4).tolist():
            key = tuple(dict.fromkeys(NicPair(*path) for path in row if path[0] >= 0))
            numbers.append(kinds.setdefault(key, len(kinds)))
        of_pair[at : at + len(some)] = np.array(numbers, dtype=np.int64)[of_flow.ravel()]
    return list(kinds), of_pair


def _nic_ends(fabric: Fabric, routes: Routes, port_of: IntArray) -> IntArray:
    """Return local GPU, port, peer GPU, port of each path: of the first NIC link on it and the last [subflows, 4]."""
    cable = routes.link // 2
    at = np.flatnonzero(fabric.cables.kind[cable] == CableKind.NIC)
    path = routes.path_of_hop[at]
    ends = np.full((routes.subflows, 4), -1, dtype=np.int64)
    gpu, port = fabric.cables.a[cable[at]] % fabric.gpus_per_server, port_of[cable[at]]
    # Written from the last to the first, so that the first stays; the other way round for the last.
    ends[path[::-1], 0], ends[path[::-1], 1] = gpu[::-1], port[::-1]
    ends[path, 2], ends[path, 3] = gpu, port
    return ends


def _port_of_cable(fabric: Fabric) -> IntArray:
    port = np.full(len(fabric.cables), -1, dtype=np.int64)
    port[fabric.nic_cable] = np.arange(fabric.nic_ports)[None, :]
    return port
