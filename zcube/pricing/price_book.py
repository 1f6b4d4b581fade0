"""Price books: one source of prices each, never mixed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared, is_file, read_toml, validate

BOOKS = Path(__file__).resolve().parent / "books"

#: Rates of one table, and the dearest single piece of network hardware taken for a price, USD.
MAX_RATES = 64
MAX_USD = 1e9
MAX_GBPS = 1_000_000

_TABLES = ("transceiver_usd", "switch_port_usd", "nic_usd")
_RATE = re.compile(r"0*([1-9]\d{0,6})", re.ASCII)

Rates = dict[int, float]


class PriceBook(Declared):
    """Prices in USD by rate in Gb/s, all from one source. A rate the source does not price is absent."""

    name: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=400)
    source: str = Field(min_length=1, max_length=400, description="where the prices stand")
    transceiver_usd: Rates = Field(default_factory=dict, description="one pluggable module")
    switch_port_usd: Rates = Field(default_factory=dict, description="one switch port, its share of the box")
    nic_usd: Rates = Field(default_factory=dict, description="one NIC")


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
    with faults:
        book = validate(PriceBook, data, source)
    faults.check()
    return book


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
        elif not (isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price <= MAX_USD):
            faults.append(Fault(f"{where}.{shown}", repr(price)[:80], f"a price in USD from 0 to {MAX_USD:g}"))
        else:
            checked[rate] = float(price)
    return checked
