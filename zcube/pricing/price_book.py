"""Price books: one source of prices each, never mixed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.inputs import Declared, is_file, read_toml, validate

BOOKS = Path(__file__).resolve().parent / "books"

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
        If there is no such book or a key is wrong; a price below zero is a fault.
    """
    bundled = reference in price_book_names()
    path = BOOKS / f"{reference}.toml" if bundled else Path(reference)
    if not bundled and not is_file(reference):
        names = ", ".join(price_book_names())
        raise InputError(Fault(f"price book {reference}", "no such file", f"a path to a TOML file or one of: {names}"))
    source = reference if bundled else str(path)
    book = validate(PriceBook, {"name": path.stem, **read_toml(path)}, source)
    faults = [
        Fault(f"{source}: {table}.{rate}", f"{price:g}", "a price of at least 0")
        for table in ("transceiver_usd", "switch_port_usd", "nic_usd")
        for rate, price in getattr(book, table).items()
        if price < 0
    ]
    if faults:
        raise InputError(faults)
    return book
