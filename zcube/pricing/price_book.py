"""Price books and power books: one source of figures each, never mixed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, model_validator

from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate

#: Rates of one table, and the largest figure of a single piece of network hardware taken, USD or W.
MAX_RATES = 64
MAX_FIGURE = 1e9
MAX_GBPS = 1_000_000

#: Which sum of a bill is the capital cost: switches and the modules in them, also modules in NICs, also NICs.
Covers = Literal["switch-side", "with-nic-side", "with-nics"]

_RATE = re.compile(r"0*([1-9]\d{0,6})", re.ASCII)
_BOX = re.compile(r"[1-9]\d{0,3}x[1-9]\d{0,6}", re.ASCII)

Rates = dict[int, float]


class _Book(Declared):
    """Figures of pieces of hardware by rate in Gb/s, all from one source. A rate the source has no figure for is absent."""

    #: What it is, where the bundled ones stand, what its figures are and in what unit, its tables by rate and by whole switch.
    kind: ClassVar[str]
    folder: ClassVar[Path]
    figure: ClassVar[str]
    unit: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    boxes: ClassVar[tuple[str, ...]] = ()

    name: str = Field(min_length=1, max_length=80, description="default: the file's")
    description: str = Field(default="", max_length=400, description="one line")
    source: str = Field(min_length=1, max_length=400, description="where the figures stand")

    @classmethod
    def bundled(cls) -> list[str]:
        """Return the names of the bundled books."""
        return sorted(path.stem for path in cls.folder.glob("*.toml"))


class PriceBook(_Book):
    """Prices in USD by rate in Gb/s, all from one source. A rate the source does not price is absent.

    A source that prices links between switches whole (``switch_link_usd``) prices no modules, and no links to NICs.
    """

    kind = "price book"
    folder = Path(__file__).resolve().parent / "books"
    figure, unit = "price", "USD"
    tables = ("transceiver_usd", "switch_port_usd", "nic_usd", "switch_link_usd")
    boxes = ("switch_usd",)

    transceiver_usd: Rates = Field(default_factory=dict, description="one pluggable module")
    switch_port_usd: Rates = Field(default_factory=dict, description="one switch port, its share of the box")
    nic_usd: Rates = Field(default_factory=dict, description="one NIC")
    switch_usd: dict[str, float] = Field(
        default_factory=dict, description="one whole switch, by native ports and rate: 64x400; before switch_port_usd"
    )
    switch_link_usd: Rates = Field(
        default_factory=dict, description="one link between switches, cable and both modules; then transceivers have no price"
    )
    covers: Covers = Field(default="switch-side", description="which sum of a bill the source's totals are")

    @model_validator(mode="after")
    def _modules_once(self) -> PriceBook:
        if self.switch_link_usd and self.transceiver_usd:
            raise ValueError("no transceiver_usd beside switch_link_usd, which holds the modules")
        return self


class PowerBook(_Book):
    """Power drawn, in watts by rate in Gb/s, all of it by its sources. A rate they do not name is absent."""

    kind = "power book"
    folder = Path(__file__).resolve().parent / "power_books"
    figure, unit = "power", "W"
    tables = ("transceiver_watts", "switch_port_watts", "nic_watts")

    transceiver_watts: Rates = Field(default_factory=dict, description="one pluggable module")
    switch_port_watts: Rates = Field(default_factory=dict, description="one switch port, its share of the box without modules")
    nic_watts: Rates = Field(default_factory=dict, description="one NIC without modules")


Book = TypeVar("Book", bound=_Book)


def price_book_names() -> list[str]:
    """Return the names of the bundled price books."""
    return PriceBook.bundled()


def load_price_book(reference: str) -> PriceBook:
    """Read a bundled price book by name, or one from a TOML file.

    Raises
    ------
    InputError
        If there is no such book, a key is wrong, a rate is no whole number of Gb/s above 0 or stands twice (``400`` and
        ``0400`` are one), or a price is no finite number of at least 0.
    """
    return _load(PriceBook, reference)


def load_power_book(reference: str) -> PowerBook:
    """Read a bundled power book by name, or one from a TOML file; faults as of :func:`load_price_book`."""
    return _load(PowerBook, reference)


def _load(book: type[Book], reference: str) -> Book:
    bundled = reference in book.bundled()
    path = book.folder / f"{reference}.toml" if bundled else Path(reference)
    if not bundled and not is_file(reference):
        names = ", ".join(book.bundled())
        raise InputError(Fault(f"{book.kind} {reference}", "no such file", f"a path to a TOML file or one of: {names}"))
    source = reference if bundled else str(path)
    data = {"name": path.stem, **read_toml(path)}
    faults = FaultList()
    for table in book.tables:
        if isinstance(data.get(table), dict):
            data[table] = _checked(data[table], f"{source}: {table}", book, faults.faults)
    for table in book.boxes:
        if isinstance(data.get(table), dict):
            data[table] = _checked_boxes(data[table], f"{source}: {table}", book, faults.faults)
    with faults:
        read = validate(book, data, source)
    faults.check()
    return read


def _checked(figures: dict[str, Any], where: str, book: type[_Book], faults: list[Fault]) -> Rates:
    """Return the sound figures of a table by rate, and note what is wrong with the others."""
    if len(figures) > MAX_RATES:
        faults.append(Fault(where, f"{len(figures)} rates", f"at most {MAX_RATES}"))
        return {}
    checked: Rates = {}
    for key, figure in figures.items():
        shown = key if len(key) <= 40 and key.isprintable() else repr(key[:40])
        match = _RATE.fullmatch(key)
        rate = int(match[1]) if match else 0
        if not 0 < rate <= MAX_GBPS or isinstance(figure, dict):
            found = f"{shown}.{next(iter(figure), '')}"[:80] if isinstance(figure, dict) else shown
            faults.append(Fault(f"{where}.{shown}", f"a rate of {found}", "a whole number of Gb/s above 0, e.g. 400 = 659"))
        elif rate in checked:
            faults.append(Fault(f"{where}.{shown}", f"a second {book.figure} of {rate} Gb/s", "each rate once"))
        elif not _is_figure(figure):
            faults.append(_no_figure(f"{where}.{shown}", figure, book))
        else:
            checked[rate] = float(figure)
    return checked


def _checked_boxes(figures: dict[str, Any], where: str, book: type[_Book], faults: list[Fault]) -> dict[str, float]:
    """Return the sound figures of whole switches by ports and rate, and note what is wrong with the others."""
    if len(figures) > MAX_RATES:
        faults.append(Fault(where, f"{len(figures)} switches", f"at most {MAX_RATES}"))
        return {}
    checked: dict[str, float] = {}
    for key, figure in figures.items():
        shown = key if len(key) <= 40 and key.isprintable() else repr(key[:40])
        if not _BOX.fullmatch(key):
            faults.append(Fault(f"{where}.{shown}", f"a switch {shown}", "native ports and rate, e.g. 64x400 = 81400"))
        elif not _is_figure(figure):
            faults.append(_no_figure(f"{where}.{shown}", figure, book))
        else:
            checked[key] = float(figure)
    return checked


def box_key(ports: int, port_gbps: float) -> str:
    """Return the key of a whole switch, by its native ports and their rate."""
    return f"{ports}x{port_gbps:g}"


def _is_figure(figure: Any) -> bool:
    return isinstance(figure, int | float) and not isinstance(figure, bool) and 0 <= figure <= MAX_FIGURE


def _no_figure(where: str, figure: Any, book: type[_Book]) -> Fault:
    return Fault(where, repr(figure)[:80], f"a {book.figure} in {book.unit} from 0 to {MAX_FIGURE:g}")
