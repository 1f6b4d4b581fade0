"""A bill from counts alone, for published tables whose fabrics cannot be built or are not described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.fabric.spec import LEAST_GBPS
from zcube.inputs import Declared, validate
from zcube.pricing.bill import BillLine, BillOfMaterials, box_line, module_line, nic_line, switch_link_line
from zcube.pricing.price_book import PriceBook

MAX_COUNT = 10**9


class Counts(Declared):
    """What a fabric consists of; what is not given is none."""

    name: str = Field(default="counts", min_length=1, max_length=80, description="shown on the bill")
    switches: int = Field(ge=0, le=MAX_COUNT, description="whole switches of one model")
    switch_ports: int = Field(default=64, ge=1, le=9999, description="native ports of one")
    port_gbps: float = Field(default=400.0, ge=LEAST_GBPS, le=1e6, description="native rate of a port, and of all else, Gb/s")
    switch_links: int = Field(default=0, ge=0, le=MAX_COUNT, description="links between switches")
    switch_modules: int = Field(default=0, ge=0, le=MAX_COUNT, description="modules in switches")
    nic_modules: int = Field(default=0, ge=0, le=MAX_COUNT, description="modules in NICs")
    nics: int = Field(default=0, ge=0, le=MAX_COUNT, description="NICs")


def counts_of(text: str, option: str = "--counts") -> Counts:
    """Read counts from ``KEY=VALUE,KEY=VALUE``.

    Raises
    ------
    InputError
        With every fault.
    """
    data: dict[str, Any] = {}
    faults = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key.strip() in data:
            faults.append(Fault(option, repr(part)[:80], "each key once, e.g. switches=1568,switch_links=32928"))
        data[key.strip()] = value.strip()
    if faults:
        raise InputError(faults)
    return validate(Counts, data, option)


def counted_bill(counts: Counts | Mapping[str, Any], book: PriceBook) -> BillOfMaterials:
    """Price counts.

    Parameters
    ----------
    counts : Counts or mapping
        What there is.
    book : PriceBook
        Prices; where it prices links between switches whole, modules have no price.

    Raises
    ------
    InputError
        With every fault of a mapping.
    """
    given = counts if isinstance(counts, Counts) else validate(Counts, counts, "counts")
    gbps = given.port_gbps

    def lines(line: BillLine) -> tuple[BillLine, ...]:
        return (line,) if line.quantity else ()

    return BillOfMaterials(
        fabric=given.name,
        price_book=book.name,
        optics_rule="counts",
        switches=lines(box_line("", given.switch_ports, gbps, given.switches, book)),
        switch_modules=lines(module_line(f"{gbps:g}G", "switch side", gbps, given.switch_modules, book)),
        nic_modules=lines(module_line(f"{gbps:g}G", "NIC side", gbps, given.nic_modules, book)),
        nics=lines(nic_line(gbps, given.nics, book)),
        cables=(),
        switch_links=lines(switch_link_line(gbps, given.switch_links, book)) if book.switch_link_usd else None,
    )
