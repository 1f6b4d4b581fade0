"""What a fabric's family says of its own shape, for the routing made for it.

A family with such a routing derives a frozen dataclass from :class:`Structure`; the routing asks for that type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Structure:
    """Nothing but what every routing may rely on.

    Attributes
    ----------
    hosts_forward : bool
        Whether GPUs pass on what is meant for others.
    """

    hosts_forward: ClassVar[bool] = False

    def arrangement(self) -> dict[str, float | int | None]:
        """Return how tiers are arranged, JSON-ready, where the family chose that; empty elsewhere."""
        return {}


#: Of families whose fabrics are routed by graph search alone.
NO_STRUCTURE = Structure()
