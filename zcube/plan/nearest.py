"""The nearest demand that a family could meet: fewer GPUs, or another switch of the catalogue; each tried, not estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from zcube.plan.candidate import Ground

#: Sizes tried downwards from a closed form before a family is taken to have none there.
MOST_STEPS = 64


def nearest_demands(ground: Ground, fits: Callable[[Ground], bool], sizes: Iterable[int]) -> tuple[Mapping[str, Any], ...]:
    """Return changes of the demand, each of which alone makes a fabric possible.

    Parameters
    ----------
    ground : Ground
        On which there is none.
    fits : callable
        Whether there is one on a ground.
    sizes : iterable of int
        Numbers of GPUs near which the family has fabrics on this switch; the largest that is found at or below each is given.
    """
    found: list[Mapping[str, Any]] = []
    for size in sizes:
        gpus = _largest(ground, fits, size)
        if gpus is not None and gpus != ground.gpus and {"gpus": gpus} not in found:
            found.append({"gpus": gpus})
    entries = sorted(ground.site.catalogue.switch.items(), key=lambda item: item[1].ports * item[1].port_gbps)
    for name, entry in entries:
        spec = entry.spec(name)
        if name != ground.switch.model and entry.port_gbps >= ground.nic_gbps / 2 and fits(replace(ground, switch=spec)):
            found.append({"switch": name})
            break
    return tuple(found)


def _largest(ground: Ground, fits: Callable[[Ground], bool], size: int) -> int | None:
    """Return the largest number of GPUs in whole servers at or below a size for which there is one."""
    server = ground.gpus_per_server
    first = size // server * server
    for gpus in range(first, max(2 * server - 1, first - MOST_STEPS * server), -server):
        if fits(replace(ground, gpus=gpus)):
            return gpus
    return None
