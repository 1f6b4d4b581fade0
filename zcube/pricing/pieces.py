"""What a single switch and a single link of a fabric cost, so that all of them together are the bill's sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.optics import Optics
from zcube.pricing.bill import box_line, module_line, switch_link_line
from zcube.pricing.price_book import PriceBook


@dataclass(frozen=True, eq=False)
class PiecePrices:
    """Prices of pieces in USD.

    Attributes
    ----------
    price_book, optics_rule : str
        Names.
    switch_usd : tuple of float or None
        A switch of each group; None where the book has no price.
    cable_usd : float array [cables without NVLink]
        The modules at both ends of each cable, of one that shares a module its part of it; or the link, where the book prices
        links whole. NaN where the book has no price.
    """

    price_book: str
    optics_rule: str
    switch_usd: tuple[float | None, ...]
    cable_usd: FloatArray


def piece_prices(fabric: Fabric, book: PriceBook, optics: Optics) -> PiecePrices:
    """Return the prices of a fabric's pieces under a price book and an optics table."""
    boxes = (box_line(one.model.name, one.model.ports, one.model.port_gbps, 1, book).usd for one in fabric.groups)
    return PiecePrices(book.name, optics.rule, tuple(boxes), _cable_usd(fabric, book, optics))


def _cable_usd(fabric: Fabric, book: PriceBook, optics: Optics) -> FloatArray:
    of_end = optics.cages.of_end
    if book.switch_link_usd:
        kind, gbps = fabric.cables.kind[: len(of_end)], fabric.cables.gbps[: len(of_end)]
        price = {rate: switch_link_line(rate, 1, book).usd for rate in np.unique(gbps).tolist()}
        whole = np.array([np.nan if price[rate] is None else price[rate] for rate in gbps.tolist()], dtype=np.float64)
        return np.where(kind == CableKind.SWITCH, whole, np.nan)
    rates = optics.module_gbps
    price = {rate: module_line("", "", rate, 1, book).usd for rate in np.unique(rates).tolist()}
    module_usd = np.array([np.nan if price[rate] is None else price[rate] for rate in rates.tolist()], dtype=np.float64)
    part_usd = np.where(optics.module, module_usd, 0.0) / np.bincount(of_end.ravel(), minlength=len(rates))
    return np.asarray(part_usd[of_end].sum(axis=1), dtype=np.float64)
