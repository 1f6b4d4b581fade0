"""What differs between a plan and a wiring found, as text."""

from __future__ import annotations

from zcube.fabric.wiring.verify import WiringReport
from zcube.report.names import printable

#: Differences spelled out; the counts are always complete, and so is ``--json``.
MOST_SHOWN = 100


def wiring_text(report: WiringReport) -> str:
    """Return counts, every difference with its cables, and its correction step by step."""
    document = report.document()
    counts = ("planned", "found", "correct", "swapped", "miswired", "missing", "extra")
    lines = [f"{name:<9} {document[f'{name}_cables']:>7,} cables" for name in counts]
    for number, one in enumerate(document["discrepancies"][:MOST_SHOWN], start=1):
        lines += ["", f"difference {number}"]
        for kind in ("swapped", "miswired", "missing", "extra"):
            lines += [f"  {kind:<9} {printable(cable)}" for cable in one[kind]]
        lines += [f"  {'correct:' if not step else '':<9} {printable(text)}" for step, text in enumerate(one["correction"])]
    hidden = len(document["discrepancies"]) - MOST_SHOWN
    if hidden > 0:
        lines += ["", f"and {hidden} more differences; --json has them all"]
    return "\n".join(lines) + "\n"
