"""One generator of candidates per family, behind one registry.

A generator takes a :class:`~zcube.plan.candidate.Ground` and yields what its family has on it: candidates, known by closed
form, and what cannot be built, with the arithmetic that keeps it from it. A package of its own adds one by an entry point of
group ``zcube.candidates``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from zcube.plan.candidate import Candidate, Ground, Unbuildable
from zcube.plan.candidates.clos import spine_leaf
from zcube.plan.candidates.direct import bcube, dragonfly, slim_fly
from zcube.plan.candidates.planes import hpn, multi_plane, rail_only
from zcube.plan.candidates.zcube import zcube, zcube_pods
from zcube.plan.demand import Site
from zcube.registry import registered

ENTRY_POINTS = "zcube.candidates"

Generator = Callable[[Ground], Iterator[Candidate | Unbuildable]]

BUILT_IN: Mapping[str, Generator] = {
    "spine-leaf": spine_leaf,
    "rail-only": rail_only,
    "multi-plane": multi_plane,
    "hpn": hpn,
    "dragonfly": dragonfly,
    "slim-fly": slim_fly,
    "bcube": bcube,
    "zcube": zcube,
    "zcube-pods": zcube_pods,
}


@cache
def generators() -> Mapping[str, Generator]:
    """Return the generator of every family by its name.

    Raises
    ------
    InputError
        If an installed package offers one under a name that is taken, or something that cannot be called.
    """
    return registered(ENTRY_POINTS, dict(BUILT_IN), _expected)


def _expected(name: str, generator: Any) -> str | None:
    return None if callable(generator) else "a callable that takes a zcube.plan.candidate.Ground"


def candidates_of(site: Site) -> tuple[list[Candidate], list[Unbuildable]]:
    """Return all that the families have for a demand, and what they cannot build, family by family, switch by switch."""
    found: dict[str, Candidate] = {}
    lost: list[Unbuildable] = []
    for name, generator in generators().items():
        if site.demand.families and name not in site.demand.families:
            continue
        for switch in site.switches.values():
            for one in generator(Ground(site, switch, site.demand.gpus)):
                if isinstance(one, Candidate):
                    found.setdefault(one.name, one)
                else:
                    lost.append(one)
    return list(found.values()), lost
