"""What a calibration's intervals leave open of the figures that a comparison is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.seed_lines import JUDGED
from zcube.verdict.rows import Row, significant
from zcube.verdict.table import ROWS

#: Rows whose change against the baseline has a band, by key.
CHANGES = {"throughput.output_tokens_per_s": "throughput", "ttft_s.p99": "ttft_p99"}


def band_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line; none without a calibration or without a band.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    lines = []
    for row in ROWS:
        if (row.label, row.unit) not in JUDGED:
            continue
        texts = [_text(row, name, document["fabrics"][name], names) for name in names]
        if any(texts):
            lines.append((f"Calibration band, {row.label}", "; ".join(filter(None, texts))))
    return lines


def band_of(fabric: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a fabric's band by key, empty without one."""
    return _band(fabric).get("figures", {})


def _band(fabric: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what stands with a calibration, else with measured tiles."""
    return (fabric.get("calibration") or {}).get("band") or (fabric.get("tiles") or {}).get("band") or {}


def _text(row: Row, name: str, fabric: Mapping[str, Any], names: Mapping[str, str]) -> str:
    ends = band_of(fabric).get(".".join(row.path))
    if ends is None:
        return ""
    low, high = (significant(row.scale * value) for value in ends)
    text = f"{names[name]} {row.text(row.value(fabric))} {row.unit} ({low} to {high})"
    change = _band(fabric)["relative"].get(CHANGES.get(".".join(row.path), ""))
    if change is None or change == [0.0, 0.0]:
        return text
    return f"{text}, against the baseline {100 * change[0]:+.2f} to {100 * change[1]:+.2f} %"
