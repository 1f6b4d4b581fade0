"""Bills of fabrics side by side: a row a position, pieces and price of each fabric."""

from __future__ import annotations

from typing import Any

from zcube.verdict.rows import ABSENT, Document


def side_by_side(document: Document) -> dict[str, Any]:
    """Return caption, rows and totals of the bills of a comparison.

    A position that two fabrics buy at different prices has a row for each price.
    """
    bills = [fabric["bill"] for fabric in document["fabrics"].values()]
    rows: dict[tuple[str, float | None], dict[str, Any]] = {}
    for at, bill in enumerate(bills):
        for line in bill["lines"]:
            key = (line["item"], line["unit_usd"])
            row = rows.setdefault(
                key, {"item": line["item"], "each": usd(line["unit_usd"]), "cells": [ABSENT] * 2 * len(bills)}
            )
            row["cells"][2 * at : 2 * at + 2] = f"{line['quantity']:,}", usd(line["usd"])
    books, rules = ({bill[key]: None for bill in bills} for key in ("price_book", "optics_rule"))
    return {
        "caption": f"Price book {', '.join(books)}; optics rule {', '.join(rules)}",
        "rows": list(rows.values()),
        "totals": [
            ("Switches and switch-side optics", [usd(bill["total_usd"]) for bill in bills]),
            ("with NIC-side optics", [usd(bill["with_nic_side"]["total_usd"]) for bill in bills]),
            ("with NIC-side optics and NICs", [usd(bill["with_nics"]["total_usd"]) for bill in bills]),
        ],
    }


def usd(value: float | None) -> str:
    """Return an amount in USD, in whole ones."""
    return ABSENT if value is None else f"{value:,.0f}"
