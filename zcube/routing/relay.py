"""What a transfer does whose routing policy has lost paths: they go over NVLink to a GPU that has them, or the transfer fails.

Three rules, by name:

* ``nvlink-relay``: every path that a pair has lost moves to a relay. A GPU with two ports of which one is down keeps the other
  one and sends what the lost one carried over a neighbour's, as collectives do that use all NICs of a server.
* ``second-port``: a pair that keeps a path, by a second port say, uses that alone; one that has lost all of them relays.
* ``none``: what the policy does by itself.

Relays are tried in this order. The first pair of GPUs is taken that the policy joins by all the paths it has without failures:

1. a GPU of the source's server sends, local index from the target's upwards, as NCCL's PXN chooses;
2. a GPU of the target's server receives, local index from the source's upwards;
3. both, first with one local index at both ends, from the one after the target's upwards.

For a pair that would have no path otherwise, the first that the policy joins at all will do. Of a relay's paths those are taken
that leave by ports by which the pair has no path left. A relay opens queue pairs of its own, so its transfers take the paths of
the two relays. Servers other than the two never relay. A pair that nothing joins has no path: a transfer between them fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.model import Fabric
from zcube.routing.routes import Routes, Routing, assemble, check_pairs, merged, nvlink_hops

FallBack = Literal["nvlink-relay", "second-port", "none"]
FALL_BACKS: tuple[FallBack, ...] = get_args(FallBack)

Pairs = tuple[IntArray, IntArray]


def intact(fabric: Fabric) -> Fabric:
    """Return a fabric with nothing failed."""
    return replace(fabric, cable_up=np.ones_like(fabric.cable_up))


@dataclass(frozen=True, eq=False)
class NvlinkRelay:
    """A routing policy, and relays over NVLink for the paths it has lost.

    Attributes
    ----------
    fabric : Fabric
        What is routed.
    policy : Routing
        Asked first, and for the way between relays.
    whole : Routing
        The same policy on the fabric with nothing failed: how many paths a pair should have.
    every_path : bool
        True for ``nvlink-relay``, False for ``second-port``.
    """

    fabric: Fabric
    policy: Routing
    whole: Routing
    every_path: bool = True

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.policy.name

    @cached_property
    def _ports_up(self) -> IntArray:
        """How many NIC ports of each GPU are up [gpus]."""
        return np.asarray(self.fabric.cable_up[self.fabric.nic_cable].sum(axis=1))

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return the policy's paths, and relayed ones for those it has lost."""
        source, target = check_pairs(self.fabric, source, target)
        routes = self.policy.routes(source, target)
        paths = routes.paths_per_flow
        lacking = paths < self.whole.routes(source, target).paths_per_flow if self.every_path else ~routes.routed
        lost = np.flatnonzero(lacking)
        if not len(lost):
            return routes
        sender, receiver = self._relays(source[lost], target[lost], paths[lost] == 0)
        relayed = sender >= 0
        lost = lost[relayed]
        between = self._between(routes.take(lost), source[lost], target[lost], sender[relayed], receiver[relayed])
        return merged(routes, lost, between)

    def _relays(self, source: IntArray, target: IntArray, cut: BoolArray) -> Pairs:
        """Return the GPUs whose NICs send and receive what pairs have lost, -1 where none can [pairs]."""
        sender, receiver = np.full(len(source), -1), np.full(len(source), -1)
        # Most often whole servers are cut off together; nothing needs to be tried for these.
        server_up = np.asarray(self._ports_up.reshape(self.fabric.servers, self.fabric.gpus_per_server).any(axis=1))
        possible = server_up[self.fabric.server_of(source)] & server_up[self.fabric.server_of(target)]
        for by_all_paths in (True, False):
            left = np.flatnonzero(possible & (sender < 0) & (by_all_paths | cut))
            least = self.fabric.nic_ports if by_all_paths else 1
            for send, receive in self._options(source, target):
                if not len(left):
                    break
                able = (self._ports_up[send[left]] >= least) & (self._ports_up[receive[left]] >= least)
                able &= (send[left] != source[left]) | (receive[left] != target[left])
                joined = self._joined(left[able], send, receive, by_all_paths)
                sender[joined], receiver[joined] = send[joined], receive[joined]
                left = left[sender[left] < 0]
        return sender, receiver

    def _joined(self, pairs: IntArray, send: IntArray, receive: IntArray, by_all_paths: bool) -> IntArray:
        """Return those of some pairs whose relays the policy joins, by all of its paths or by any."""
        if not len(pairs):
            return pairs
        paths = self.policy.routes(send[pairs], receive[pairs]).paths_per_flow
        least = self.whole.routes(send[pairs], receive[pairs]).paths_per_flow if by_all_paths else 1
        return pairs[paths >= least]

    def _options(self, source: IntArray, target: IntArray) -> Iterator[Pairs]:
        """Yield sender and receiver of each pair, best first."""
        size = self.fabric.gpus_per_server
        own, other = source % size, target % size
        at_source, at_target = source - own, target - other
        for step in range(size):
            yield at_source + (other + step) % size, target
        for step in range(size):
            yield source, at_target + (own + step) % size
        for apart in range(size):
            for step in range(1, size + 1):
                index = (other + step) % size
                yield at_source + index, at_target + (index + apart) % size

    def _between(self, left: Routes, source: IntArray, target: IntArray, sender: IntArray, receiver: IntArray) -> Routes:
        """Return the paths between relays by ports that pairs lack, with the hops over NVLink before and after them."""
        between = self.policy.routes(sender, receiver)
        flow = between.flow_of_path
        in_use = np.zeros((len(source), self.fabric.nic_ports), dtype=bool)
        in_use[left.flow_of_path, self._port(left, source)] = True
        taken = ~in_use[flow, self._port(between, sender)]
        before = np.where((sender != source)[:, None], nvlink_hops(self.fabric, source, sender), -1)
        after = np.where((receiver != target)[:, None], nvlink_hops(self.fabric, receiver, target), -1)
        rows = np.concatenate([before[flow], between.rows(int(between.hops_per_path.max(initial=0))), after[flow]], axis=1)
        return assemble(np.bincount(flow[taken], minlength=len(source)), rows[taken])

    def _port(self, routes: Routes, gpu: IntArray) -> IntArray:
        """Return the NIC port by which each subflow leaves the GPU of its flow [subflows]; 0 for one over NVLink."""
        cable = routes.first_link // 2
        return np.argmax(self.fabric.nic_cable[gpu[routes.flow_of_path]] == cable[:, None], axis=1)
