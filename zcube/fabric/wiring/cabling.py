"""A wiring: which port is joined to which, planned or found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from zcube.fabric.cages import checked_places, device_names
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.reading import MAX_NAME_CHARS, MAX_ROWS, Faults


class Port(NamedTuple):
    """One port of one device."""

    device: str
    port: str

    def __str__(self) -> str:
        return f"{self.device}:{self.port}"


class WiredCable(NamedTuple):
    """A cable between two ports; which end is ``a`` carries no meaning."""

    a: Port
    z: Port

    def __str__(self) -> str:
        return f"{self.a} -- {self.z}"


@dataclass(frozen=True, slots=True)
class NameRule:
    """Which differences between two names do not matter.

    Attributes
    ----------
    ignore_case : bool
        ``Leaf1`` is ``leaf1``, ``SWP5`` is ``swp5``.
    ignore_domain : bool
        ``leaf1.dc.example.org`` is ``leaf1``; port names keep their dots.
    """

    ignore_case: bool = True
    ignore_domain: bool = True

    def key(self, port: Port) -> Port:
        """Return what the port is compared by."""
        device, name = port
        if self.ignore_domain:
            device = device.partition(".")[0]
        return Port(device.casefold(), name.casefold()) if self.ignore_case else Port(device, name)


@dataclass(frozen=True, eq=False)
class Wiring:
    """Cables between ports.

    Attributes
    ----------
    source : str
        File or fabric it comes from, named in faults.
    cables : tuple of WiredCable
        As the source lists them; a cable may be listed from both its ends.
    lines : tuple of int
        Line of each cable in the source, or its number where the source is no file.
    """

    source: str
    cables: tuple[WiredCable, ...]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.cables)

    @staticmethod
    def of(fabric: Fabric) -> Wiring:
        """Return the wiring planned for a fabric."""
        places, names = checked_places(fabric), device_names(fabric)
        sides = zip(places.device.tolist(), *places.names())
        cables = tuple(WiredCable(Port(names[a], p), Port(names[z], q)) for (a, z), p, q in sides)
        return Wiring(fabric.name, cables, tuple(places.cable.tolist()))

    def partners(self, rule: NameRule) -> dict[Port, Port]:
        """Return, for the key of every port, the key of the port at its cable's other end; one cable listed twice is one cable.

        Raises
        ------
        InputError
            With every port that is in two different cables.
        """
        partner: dict[Port, Port] = {}
        line_of: dict[Port, int] = {}
        faults = Faults(self.source)
        for cable, line in zip(self.cables, self.lines):
            a, z = rule.key(cable.a), rule.key(cable.z)
            clash = False
            for near, far in ((a, z), (z, a)):
                if partner.get(near, far) != far:
                    first = f"joined to {partner[near]} at line {line_of[near]}"
                    faults.add(line, f"{near} joined to {far}, but {first}", "one cable per port")
                    clash = True
            if not clash:
                partner[a], partner[z] = z, a
                line_of.setdefault(a, line)
                line_of.setdefault(z, line)
        faults.raise_any()
        return partner


EXACT = NameRule(ignore_case=False, ignore_domain=False)


def build_wiring(rows: Iterable[tuple[int, tuple[str, ...]]], faults: Faults) -> Wiring:
    """Return the wiring of rows (line, (device, port, device, port)).

    Raises
    ------
    InputError
        With every empty or unprintable name, every port joined to itself, and every port in two different cables.
    """
    cables: list[WiredCable] = []
    lines: list[int] = []
    for line, cable in _checked(rows, faults):
        if len(cables) == MAX_ROWS:
            faults.add(line, "more cables", f"at most {MAX_ROWS} cables")
            break
        cables.append(cable)
        lines.append(line)
    faults.raise_any()
    wiring = Wiring(faults.source, tuple(cables), tuple(lines))
    wiring.partners(EXACT)
    return wiring


def _checked(rows: Iterable[tuple[int, tuple[str, ...]]], faults: Faults) -> Iterator[tuple[int, WiredCable]]:
    for line, names in rows:
        wrong = [name for name in names if not name or len(name) > MAX_NAME_CHARS or not name.isprintable()]
        for name in wrong:
            faults.add(line, f"a name {name!r}", f"1 to {MAX_NAME_CHARS} printable characters")
        a, z = Port(names[0], names[1]), Port(names[2], names[3])
        if a == z and not wrong:
            faults.add(line, f"{a} joined to itself", "two ports")
        yield line, WiredCable(a, z)
