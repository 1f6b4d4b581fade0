"""Prices of single switches and cables: all of them together are the bill's sums."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.optics import OPTICS_RULES, optics_of
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.pieces import piece_prices
from zcube.pricing.price_book import load_price_book, price_book_names


@pytest.mark.parametrize("rule", OPTICS_RULES)
@pytest.mark.parametrize("name", ["zcube-256", "roft-256", "hpn-1024"])
@pytest.mark.parametrize("book_name", price_book_names())
def test_pieces_add_up_to_the_bill(name, rule, book_name):
    fabric, book = load_fabric(name), load_price_book(book_name)
    optics = optics_of(fabric, rule)
    pieces, bill = piece_prices(fabric, book, optics), bill_of_materials(fabric, book, optics).document()
    boxes = [None if usd is None else usd * group.count for usd, group in zip(pieces.switch_usd, fabric.groups, strict=True)]
    if None in boxes:
        assert bill["switch_usd"] is None
    else:
        assert sum(boxes) == pytest.approx(bill["switch_usd"])
    whole = bill["optics_usd"] if book.switch_link_usd else bill["with_nic_side"]["optics_usd"]
    if whole is None:
        assert np.isnan(pieces.cable_usd).any()
    else:
        assert np.nansum(pieces.cable_usd) == pytest.approx(whole)
