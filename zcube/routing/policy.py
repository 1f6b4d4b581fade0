"""What a routing policy is to the registry, and how it asks a fabric for the structure it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.fabric.structure import Structure
from zcube.routing.routes import Routing

Shape = TypeVar("Shape", bound=Structure)


@dataclass(frozen=True)
class RoutingPolicy:
    """A policy as it is registered.

    A fabric's family names the policies that are made for it. A policy that a family does not know says itself for which
    fabrics it is made.

    Attributes
    ----------
    bind : callable
        Takes a fabric, the queue pairs per transfer and the seed of their UDP source ports; returns the routing.
    families : tuple of str
        Families it is made for beside those that name it.
    structures : tuple of type
        Likewise, by the structure of the fabric.
    """

    bind: Callable[[Fabric, int, int], Routing]
    families: tuple[str, ...] = ()
    structures: tuple[type[Structure], ...] = ()

    def made_for(self, fabric: Fabric) -> bool:
        """Return whether the policy names the fabric's family or structure."""
        return fabric.family in self.families or isinstance(fabric.structure, self.structures)


def needed_structure(fabric: Fabric, needed: type[Shape], policy: str) -> Shape:
    """Return a fabric's structure as the type that a policy needs.

    Raises
    ------
    InputError
        If the fabric has another.
    """
    if not isinstance(fabric.structure, needed):
        found = f"{policy} on {fabric.name}, a {fabric.family}"
        raise InputError(Fault("routing", found, f"a fabric with a {needed.__name__}, or another policy"))
    return fabric.structure
