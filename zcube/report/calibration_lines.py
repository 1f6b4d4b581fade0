"""What a result says of the calibration it was made with: name, error, values taken, and what lies outside its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.names import printable


def calibration_lines(document: Mapping[str, Any]) -> list[str]:
    """Return the lines of a ``calibration`` section.

    Parameters
    ----------
    document : mapping
        ``zcube.calibrate.links.calibration_document()``.
    """
    head = f"Calibration: {printable(document['name'])}, data {document['data_sha256'][:12]}"
    if document["error_median"] is None:
        lines = [f"{head}; its error is not known"]
    else:
        error = f"median {document['error_median']:.1%}, P90 {document['error_p90']:.1%} on sizes left out"
        lines = [f"{head}; error of the fitted curves {error}"]
    lines += [f"  {printable(note)}" for note in document["notes"]]
    lines += _band_lines(document.get("band"))
    return [*lines, *(f"  warning: {printable(text)}" for text in document["warnings"])]


def tile_lines(document: Mapping[str, Any], band: Mapping[str, Any] | None) -> list[str]:
    """Return the lines of a ``tiles`` section.

    Parameters
    ----------
    document : mapping
        :meth:`zcube.calibrate.tile_run.AppliedTiles.document`.
    band : mapping or None
        How the band of its intervals was made, where it is theirs alone.
    """
    lines = [f"Tiles: {printable(document['name'])}"]
    for engine in ("tilert", "batched"):
        figures = document[engine]
        if figures is None:
            continue
        taken = [
            f"{one['figure']} {one['value']:.3g} ({one['low']:.3g} to {one['high']:.3g})"
            + ("" if one["instead_of"] is None else f" in place of {one['instead_of']:.3g}")
            for one in figures["applied"]
        ]
        kept = [f"{name} ({why})" for name, why in figures["kept"].items()]
        lines.append(f"  {engine}: {printable(', '.join(taken) or 'nothing taken')}")
        lines += [f"  {engine}, defaults that stay: {printable(', '.join(kept))}"] if kept else []
    if band is not None and band["why_none"]:
        lines.append(f"  band: none; {printable(band['why_none'])}")
    elif band is not None:
        picked = f"{band['draws']} of {band['rounds']} draws of the parts, each anywhere within its interval"
        lines.append(f"  band: least and most of the run and {picked}, evenly from end to end of {band['level']:.0%} of them")
    return [*lines, *(f"  warning: {printable(text)}" for text in document["warnings"])]


def measured_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what a comparison says of its calibration and of measured tiles; nothing without either."""
    calibration, tiles = document.get("calibration"), document.get("tiles")
    lines = calibration_lines(calibration) if calibration else []
    if not tiles:
        return lines
    base = document["fabrics"][document["baseline"]]
    said = tile_lines(tiles, (base.get("tiles") or {}).get("band"))
    together = calibration and ((base.get("calibration") or {}).get("band") or {}).get("draws")
    return [*lines, *said, *(["  band: draws of these go with rounds of the links, fastest with fastest"] if together else [])]


def _band_lines(band: Mapping[str, Any] | None) -> list[str]:
    """Return how the band was made, or why there is none."""
    if band is None:
        return []
    fixed = band["without_intervals"]
    without = [f"  band: no interval, taken as fitted: {printable('; '.join(fixed))}"] if fixed else []
    if band["why_none"]:
        return [f"  band: none; {printable(band['why_none'])}", *without]
    picked = f"{band['draws']} of {band['rounds']} bootstrap rounds, evenly from end to end of the {band['level']:.0%} interval"
    return [f"  band: least and most of the run and {picked}; it holds the scatter of the fit alone", *without]
