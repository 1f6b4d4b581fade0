"""ZCube's two link-disjoint paths per pair of GPUs.

For GPU x with segment a = x // k (its switch ``A[a]``) and rail b = x mod m (its switch ``B[b]``), a pair (a, b) -> (c, d) uses

* P1: source port 0 -> A[a] -> B[d] -> destination port 1
* P2: source port 1 -> B[b] -> A[c] -> destination port 0

Source: Z.ai's article of 2026-05-21 draws one path per source port, each arriving at the destination's other port; the tables
are unpublished, the rule above is inferred from the drawing.

Where a switch pair has T parallel links, the member is that of the GPU whose rail fixes the B switch: ``(GPU // m) mod T``,
where GPU is the destination on P1 and the source on P2. The T GPUs of a segment on one rail then use one member each. So over a
uniform all-to-all every member carries the same number of pairs, whether or not pairs inside a server are left out (for that,
segments must be whole servers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.fabric.model import Fabric, IntArray
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, uplink


@dataclass(frozen=True)
class ZCubePaths:
    """Routing of a two-port ZCube over P1 and P2; GPUs of one server use NVLink."""

    fabric: Fabric
    name: str = "zcube-paths"

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return two subflows per pair, or one over NVLink inside a server."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        k = fabric.parameters["gpus_per_switch"]
        m = fabric.parameters["group_switches"]
        parallel = fabric.parameters["parallel_links"]
        rows = np.full((len(source), 2, 3), -1, dtype=np.int64)
        for path, (port, on_a, on_b, forward) in enumerate([(0, source, target, 0), (1, target, source, 1)]):
            trunk = 2 * fabric.gpus + (on_a // k * m + on_b % m) * parallel + on_b // m % parallel
            rows[:, path, 0] = uplink(fabric, source, port)
            rows[:, path, 1] = 2 * trunk + forward
            rows[:, path, 2] = downlink(fabric, target, 1 - port)
        local = fabric.server_of(source) == fabric.server_of(target)
        rows[local] = -1
        rows[local, 0, :2] = nvlink_hops(fabric, source[local], target[local])
        used = rows[:, :, 0].ravel() >= 0
        return assemble(np.where(local, 1, 2), rows.reshape(-1, 3)[used])
