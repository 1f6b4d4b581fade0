"""Transfers that are waited for together, counted for a network model that tells of single ones."""

from __future__ import annotations

from zcube.arrays import IntArray


class FlowGroups:
    """Groups by number."""

    def __init__(self) -> None:
        self._opened = 0
        self._group: dict[int, int] = {}
        #: By group under way: its transfers that have not arrived, and whether the last has been posted.
        self._under_way: dict[int, tuple[int, bool]] = {}

    def open(self) -> int:
        """Return the number of a new group."""
        self._opened += 1
        self._under_way[self._opened] = 0, False
        return self._opened

    def add(self, group: int, flows: IntArray, is_last: bool) -> None:
        """Note transfers of a group, and whether it is complete with them."""
        self._group |= dict.fromkeys(flows.tolist(), group)
        self._under_way[group] = self._under_way[group][0] + len(flows), is_last

    def arrive(self, flows: IntArray) -> list[int]:
        """Note the arrival of transfers; return the complete groups that have none left."""
        arrived = []
        for flow in flows.tolist():
            group = self._group.pop(flow, None)
            if group is not None:
                left, complete = self._under_way[group]
                self._under_way[group] = left - 1, complete
                if complete and left == 1:
                    del self._under_way[group]
                    arrived.append(group)
        return arrived
