"""In which order plugs are pulled and put in, so that GPUs in service stay within reach.

A plug can go into a port that is free only, so that what sits there has to leave first. Links are added as soon as both their
ports are free, which only helps; of the moves and removals that could come next, the first in the order of the links is taken
that cuts nobody off. Where plugs wait for each other in a ring, one is pulled and left hanging until its port is free. What
cuts GPUs off is put off until nothing else is left, and then done and named.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.plan.growth.pairing import Ends, Pairing
from zcube.plan.growth.renaming import NONE
from zcube.plan.reach import Reach


class Action(StrEnum):
    """What is done with a cable in one step."""

    ADD = "add"
    REMOVE = "remove"
    MOVE = "move"
    UNPLUG = "unplug"
    PLUG = "plug"


class CableStep(NamedTuple):
    """One step.

    Attributes
    ----------
    action : Action
        What is done: ``unplug`` leaves a plug hanging, ``plug`` puts it into its port; ``move`` does both at once.
    old, new : int
        Link that stood and link that will stand, NONE where there is none.
    lost : int
        GPUs in service that are cut off from others while the step is under way.
    """

    action: Action
    old: int
    new: int
    lost: int


def ordered_steps(old: Ends, new: Ends, pairing: Pairing, reach: Reach, gpus: int, gpus_per_server: int) -> list[CableStep]:
    """Return the steps from the old links to the new ones.

    Parameters
    ----------
    old, new : Ends
        Links, devices numbered alike, ports as they are to be.
    pairing : Pairing
        What becomes of links.
    reach : Reach
        The old links plugged in; it is brought to the new ones.
    gpus, gpus_per_server : int
        Of the larger fabric.
    """
    return _Work(old, new, pairing, reach, gpus, gpus_per_server).done()


def nodes_of(ends: Ends, gpus: int, gpus_per_server: int) -> IntArray:
    """Return the nodes at both ends of each link, the lesser first: GPUs, then switches from ``gpus`` on [links, 2]."""
    servers = gpus // gpus_per_server
    at_gpu = ends.device * gpus_per_server + ends.gpu
    return np.sort(np.where(ends.at_switch, ends.device - servers + gpus, at_gpu), axis=1).astype(np.int64)


class _Work:
    """What is plugged in, what waits for what, and the steps so far."""

    def __init__(self, old: Ends, new: Ends, pairing: Pairing, reach: Reach, gpus: int, gpus_per_server: int):
        self.reach = reach
        self.steps: list[CableStep] = []
        self._old_nodes, self._new_nodes = ([*map(tuple, nodes_of(one, gpus, gpus_per_server).tolist())] for one in (old, new))
        self._source = pairing.moved.tolist()
        self._target = [NONE] * len(old)
        self._stays: dict[int, int] = {}
        for link in np.flatnonzero(pairing.moved != NONE).tolist():
            self._target[self._source[link]] = link
            self._stays[self._source[link]] = int(pairing.near_old[link])
        self._todo = np.setdiff1d(np.arange(len(old)), pairing.kept).tolist()
        self._hanging: set[int] = set()
        self._tried: dict[int, tuple[int, int]] = {}
        self._fresh = True
        self._waits, self._frees = self._in_the_way(old, new, np.flatnonzero(pairing.kept == NONE))
        added = (pairing.kept == NONE) & (pairing.moved == NONE)
        self._ready = deque(link for link in np.flatnonzero(added).tolist() if not self._waits[link])

    def _in_the_way(self, old: Ends, new: Ends, wanted: IntArray) -> tuple[list[int], dict[tuple[int, int], list[int]]]:
        """Return how many old ends are in the way of each new link, and the new links that each old end holds up."""
        there: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for link in self._todo:
            for end in (0, 1):
                there.setdefault(_native(old, link, end), []).append((link, end))
        waits = [0] * len(new)
        frees: dict[tuple[int, int], list[int]] = {}
        for link in wanted.tolist():
            for end in (0, 1):
                for other, its_end in there.get(_native(new, link, end), ()):
                    same_split = old.legs[other, its_end] == new.legs[link, end]
                    if same_split and old.leg[other, its_end] != new.leg[link, end]:
                        continue
                    if self._source[link] == other and self._stays[other] == its_end:
                        continue
                    waits[link] += 1
                    frees.setdefault((other, its_end), []).append(link)
        return waits, frees

    def done(self) -> list[CableStep]:
        """Do everything and return the steps."""
        # Nothing has been pulled yet, so that nobody is cut off while all is put in for which there is a free port.
        self.steps += [CableStep(Action.ADD, NONE, link, 0) for link in self._ready]
        self.reach.plug_all([self._new_nodes[link] for link in self._ready])
        self._ready.clear()
        while self._todo:
            # What could not be pulled before cannot be now, unless ports came free or more is joined.
            if self._fresh:
                self._fresh = self._pull_safe(waiting=False) or self._pull_safe(waiting=True)
            else:
                self._pull_first()
        return self.steps

    def _pull_safe(self, waiting: bool) -> bool:
        """Pull what cuts nobody off, all that can go to its port or the first that has to wait; return whether any was."""
        left, pulled = [], False
        for place, link in enumerate(self._todo):
            waits = self._target[link] != NONE and self._waits[self._target[link]] > 0
            if waits != waiting or not self._safe(link):
                left.append(link)
                continue
            self._pull(link)
            pulled = True
            if waiting:
                left += self._todo[place + 1 :]
                break
        self._todo = left
        return pulled

    def _pull_first(self) -> None:
        """Pull what cuts GPUs off: first of what can go to its port, else of all."""
        ready = (link for link in self._todo if self._target[link] == NONE or not self._waits[self._target[link]])
        link = next(ready, self._todo[0])
        self._todo.remove(link)
        self._pull(link)

    def _safe(self, link: int) -> bool:
        a, z = self._old_nodes[link]
        stamp = self.reach.stamp(a)
        if self._tried.get(link) == stamp:
            return False
        self._tried[link] = stamp
        return self.reach.lost_without(a, z) <= self.reach.lost()

    def _pull(self, link: int) -> None:
        self.reach.unplug(*self._old_nodes[link])
        lost = self.reach.lost()
        target = self._target[link]
        if target == NONE:
            self.steps.append(CableStep(Action.REMOVE, link, NONE, lost))
        elif self._waits[target]:
            self.steps.append(CableStep(Action.UNPLUG, link, target, lost))
            self._hanging.add(link)
        else:
            self.steps.append(CableStep(Action.MOVE, link, target, lost))
            self._plug(target)
        self._free(link)
        self._put_in()

    def _free(self, link: int) -> None:
        for end in (0, 1):
            for blocked in self._frees.pop((link, end), ()):
                self._waits[blocked] -= 1
                source = self._source[blocked]
                if not self._waits[blocked]:
                    self._fresh = True
                    if source == NONE or source in self._hanging:
                        self._ready.append(blocked)

    def _plug(self, link: int) -> None:
        a, z = self._new_nodes[link]
        before = self.reach.stamp(a)
        self.reach.plug(a, z)
        # A GPU's only port, back in place, makes nothing possible that was not.
        self._fresh |= self.reach.stamp(a) != before and not self.reach.is_only_port(a)

    def _put_in(self) -> None:
        while self._ready:
            link = self._ready.popleft()
            source = self._source[link]
            self._hanging.discard(source)
            self.steps.append(CableStep(Action.ADD if source == NONE else Action.PLUG, source, link, self.reach.lost()))
            self._plug(link)


def _native(ends: Ends, link: int, end: int) -> tuple[int, int, int]:
    return int(ends.device[link, end]), int(ends.gpu[link, end]), int(ends.port[link, end])
