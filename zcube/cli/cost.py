"""``zcube cost``: bills side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zcube.cli.fabric import OpticsOption, RacksOption, load, load_optics
from zcube.cli.terminal_style import terminal_style


def cost_command(
    fabrics: Annotated[list[str], typer.Argument(help="Bundled topologies or files; changes are against the first.")],
    price_book: Annotated[str, typer.Option(help="Price book by name or file.")] = "mixnet-2025",
    optics: OpticsOption = "all-optical",
    racks: RacksOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Price the switches, optics and NICs of fabrics."""
    from zcube.errors import Fault, FaultList, InputError
    from zcube.outputs import to_json
    from zcube.pricing.bill import bill_of_materials, counting_rule
    from zcube.pricing.price_book import load_price_book

    repeated = sorted({name for name in fabrics if fabrics.count(name) > 1})
    if repeated:
        raise InputError(Fault("fabrics", ", ".join(repeated) + " more than once", "each fabric once"))
    faults = FaultList()
    with faults:
        book = load_price_book(price_book)
    tables = {}
    for name in fabrics:
        with faults:
            fabric = load(name, None)
            tables[name] = fabric, load_optics(fabric, optics, racks)
    faults.check()
    bills = {name: bill_of_materials(fabric, book, table).document() for name, (fabric, table) in tables.items()}
    rule = counting_rule(optics)
    if json:
        document = {"price_book": {"name": book.name, "source": book.source}, "counting_rule": rule, "fabrics": bills}
        sys.stdout.write(to_json(document))
        return
    from zcube.report.terminal import bill_table

    sys.stdout.write(bill_table(bills, f"{book.name} ({book.source})", rule, **terminal_style()))
