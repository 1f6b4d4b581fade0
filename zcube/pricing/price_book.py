"""Price books: one source of prices each, never mixed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared, is_file, read_toml, validate

BOOKS = Path(__file__).resolve().parent / "books"

#: Rates of one table, and the dearest single piece of network hardware taken for a price, USD.
MAX_RATES = 64
MAX_USD = 1e9
MAX_GBPS = 1_000_000

#: Which sum of a bill is the capital cost: switches and the modules in them, also modules in NICs, also NICs.
Covers = Literal["switch-side", "with-nic-side", "with-nics"]

_TABLES = ("transceiver_usd", "switch_port_usd", "nic_usd", "switch_link_usd")
_RATE = re.compile(r"0*([1-9]\d{0,6})", re.ASCII)
_BOX = re.compile(r"[1-9]\d{0,3}x[1-9]\d{0,6}", re.ASCII)

Rates = dict[int, float]


class PriceBook(Declared):
    """Prices in USD by rate in Gb/s, all from one source. A rate the source does not price is absent.

    A source that prices links between switches whole (``switch_link_usd``) prices no modules, and no links to NICs.
    """

    name: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=400)
    source: str = Field(min_length=1, max_length=400, description="where the prices stand")
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


def price_book_names() -> list[str]:
    """Return the names of the bundled price books."""
    return sorted(path.stem for path in BOOKS.glob("*.toml"))


def load_price_book(reference: str) -> PriceBook:
    """Read a bundled price book by name, or one from a TOML file.

    Raises
    ------
    InputError
        If there is no such book, a key is wrong, a rate is no whole number of Gb/s above 0 or stands twice (``400`` and
        ``0400`` are one), or a price is no finite number of at least 0.
    """
    bundled = reference in price_book_names()
    path = BOOKS / f"{reference}.toml" if bundled else Path(reference)
    if not bundled and not is_file(reference):
        names = ", ".join(price_book_names())
        raise InputError(Fault(f"price book {reference}", "no such file", f"a path to a TOML file or one of: {names}"))
    source = reference if bundled else str(path)
    data = {"name": path.stem, **read_toml(path)}
    faults = FaultList()
    for table in _TABLES:
        if isinstance(data.get(table), dict):
            data[table] = _checked(data[table], f"{source}: {table}", faults.faults)
    if isinstance(data.get("switch_usd"), dict):
        data["switch_usd"] = _boxes(data["switch_usd"], f"{source}: switch_usd", faults.faults)
    with faults:
        book = validate(PriceBook, data, source)
        if book.switch_link_usd and book.transceiver_usd:
            expected = "no prices of transceivers, which are in the links'"
            faults.faults.append(Fault(f"{source}: transceiver_usd", "prices beside switch_link_usd", expected))
    faults.check()
    return book


def box_key(ports: int, port_gbps: float) -> str:
    """Return the key of a whole switch in ``switch_usd``."""
    return f"{ports}x{port_gbps:g}"


def _boxes(prices: dict[str, Any], where: str, faults: list[Fault]) -> dict[str, float]:
    """Return the sound prices of whole switches, and note what is wrong with the others."""
    if len(prices) > MAX_RATES:
        faults.append(Fault(where, f"{len(prices)} switches", f"at most {MAX_RATES}"))
        return {}
    checked: dict[str, float] = {}
    for key, price in prices.items():
        shown = key if len(key) <= 40 and key.isprintable() else repr(key[:40])
        if not _BOX.fullmatch(key):
            faults.append(Fault(f"{where}.{shown}", f"a switch {shown}", "native ports and rate, e.g. 64x400 = 81400"))
        elif not _is_price(price):
            faults.append(Fault(f"{where}.{shown}", repr(price)[:80], f"a price in USD from 0 to {MAX_USD:g}"))
        else:
            checked[key] = float(price)
    return checked


def _is_price(price: Any) -> bool:
    return isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price <= MAX_USD


def _checked(prices: dict[str, Any], where: str, faults: list[Fault]) -> Rates:
    """Return the sound prices of a table by rate, and note what is wrong with the others."""
    if len(prices) > MAX_RATES:
        faults.append(Fault(where, f"{len(prices)} rates", f"at most {MAX_RATES}"))
        return {}
    checked: Rates = {}
    for key, price in prices.items():
        shown = key if len(key) <= 40 and key.isprintable() else repr(key[:40])
        match = _RATE.fullmatch(key)
        rate = int(match[1]) if match else 0
        if not 0 < rate <= MAX_GBPS or isinstance(price, dict):
            found = f"{shown}.{next(iter(price), '')}"[:80] if isinstance(price, dict) else shown
            faults.append(Fault(f"{where}.{shown}", f"a rate of {found}", "a whole number of Gb/s above 0, e.g. 400 = 659"))
        elif rate in checked:
            faults.append(Fault(f"{where}.{shown}", f"a second price of {rate} Gb/s", "each rate once"))
        elif not _is_price(price):
            faults.append(Fault(f"{where}.{shown}", repr(price)[:80], f"a price in USD from 0 to {MAX_USD:g}"))
        else:
            checked[rate] = float(price)
    return checked
