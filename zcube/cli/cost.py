"""``zcube cost``: bills side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zcube.cli import completion
from zcube.cli.fabric import OpticsOption, RacksOption, load, load_optics
from zcube.cli.json_option import JsonOption
from zcube.cli.terminal_style import terminal_style


def cost_command(
    fabrics: Annotated[
        list[str] | None,
        typer.Argument(help="Bundled topologies or files; changes are against the first.", autocompletion=completion.fabrics),
    ] = None,
    counts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="name=NAME,switches=N,switch_links=N,...", help="Counts in place of a fabric; repeat for several."
        ),
    ] = None,
    price_book: Annotated[
        str, typer.Option(help="Price book by name or file.", autocompletion=completion.price_books)
    ] = "mixnet-2025",
    optics: OpticsOption = "all-optical",
    racks: RacksOption = None,
    json: JsonOption = False,
) -> None:
    """Price the switches, optics and NICs of fabrics."""
    from zcube.errors import Fault, FaultList, InputError
    from zcube.outputs import to_json
    from zcube.pricing.bill import bill_of_materials, counting_rule
    from zcube.pricing.counted import counted_bill, counts_of
    from zcube.pricing.price_book import load_price_book

    faults = FaultList()
    counted = []
    for text in counts or ():
        with faults:
            counted.append(counts_of(text))
    names = [*(fabrics or ()), *(one.name for one in counted)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    with faults:
        if repeated or not (names or counts):
            found = ", ".join(repeated) + " more than once" if repeated else "none"
            raise InputError(Fault("fabrics", found, "each fabric once, by file or --counts"))
    with faults:
        book = load_price_book(price_book)
    tables = {}
    for name in fabrics or ():
        with faults:
            fabric = load(name, None)
            tables[name] = fabric, load_optics(fabric, optics, racks)
    faults.check()
    bills = {name: bill_of_materials(fabric, book, table).document() for name, (fabric, table) in tables.items()}
    bills |= {one.name: counted_bill(one, book).document() for one in counted}
    rule = counting_rule(optics)
    if json:
        document = {"price_book": {"name": book.name, "source": book.source}, "counting_rule": rule, "fabrics": bills}
        sys.stdout.write(to_json(document))
        return
    from zcube.report.terminal import bill_table

    sys.stdout.write(bill_table(bills, f"{book.name} ({book.source})", rule, **terminal_style()))
