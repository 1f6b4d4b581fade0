"""``zcube cost``: bills side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zcube.cli.terminal_style import terminal_style


def cost_command(
    fabrics: Annotated[list[str], typer.Argument(help="Bundled topologies or files; changes are against the first.")],
    price_book: Annotated[str, typer.Option(help="Price book by name or file.")] = "mixnet-2025",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Price the switches and optics of fabrics."""
    from zcube.errors import Fault, InputError
    from zcube.fabric.catalog import load_fabric
    from zcube.outputs import to_json
    from zcube.pricing.bill import COUNTING_RULE, bill_of_materials
    from zcube.pricing.price_book import load_price_book

    repeated = sorted({name for name in fabrics if fabrics.count(name) > 1})
    if repeated:
        raise InputError(Fault("fabrics", ", ".join(repeated) + " more than once", "each fabric once"))
    book = load_price_book(price_book)
    bills = {name: bill_of_materials(load_fabric(name), book).document() for name in fabrics}
    if json:
        document = {"price_book": {"name": book.name, "source": book.source}, "counting_rule": COUNTING_RULE, "fabrics": bills}
        sys.stdout.write(to_json(document))
        return
    from zcube.report.terminal import bill_table

    sys.stdout.write(bill_table(bills, f"{book.name} ({book.source})", COUNTING_RULE, **terminal_style()))
