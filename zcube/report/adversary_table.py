"""The adversarial report as plain text for a terminal or a pipe."""

from __future__ import annotations

import math

from zcube.network.adversary.report import AdversarialReport
from zcube.report.columns import aligned
from zcube.report.names import printable

_NONE = "-"


def adversary_table(report: AdversarialReport) -> str:
    """Return a report as aligned lines: patterns, searched permutations, funnels, definitions.

    Parameters
    ----------
    report : AdversarialReport
        What came of the attack.

    Returns
    -------
    str
        Lines with a final newline.
    """
    what = f"{printable(report.carrier.fabric.name)} by {report.carrier.routing.name}"
    head = f"{what}, segments of {report.segment_gpus} GPUs, seed {report.carrier.seed}\n"
    parts = [head, _patterns(report), _funnels(report), _notes(report)]
    return "\n".join(part for part in parts if part)


def _patterns(report: AdversarialReport) -> str:
    rows: list[tuple[str, ...]] = [("Permutation", "mean", "P1", "min", "fullest link", "flows", "offered")]
    found = [("most on one link", report.fullest_link), ("worst found", report.worst)]
    for name, share in [*report.patterns.items(), *((name, hit.share) for name, hit in found if hit)]:
        link = share.fullest
        shares = (_share(value) for value in (share.mean, share.p1, share.minimum))
        offered = f"{link.overload:.2f}" if math.isfinite(link.overload) else _NONE
        rows.append((name, *shares, printable(link.name), str(link.flows), offered))
    return "".join(f"{line}\n" for line in aligned(rows, (0, 4)))


def _funnels(report: AdversarialReport) -> str:
    skewed = report.skewed_funnels
    beside = ["skewed rails"] if skewed else []
    rows: list[tuple[str, ...]] = [("Funnel from GPU 0", "pairs", "on fullest", "fullest / ideal", *beside, "fullest link")]
    for name, load in report.funnels.items():
        twin = [_share(skewed[name].concentration)] if skewed else []
        rows.append((name, f"{load.pairs:,}", f"{load.transfers:.4g}", _share(load.concentration), *twin, printable(load.link)))
    return "".join(f"{line}\n" for line in aligned(rows, (0, len(rows[0]) - 1)))


def _notes(report: AdversarialReport) -> str:
    lost = max((share.unreachable for share in report.patterns.values()), default=0)
    notes = [
        "mean, P1, min: max-min fair share of a GPU's line rate over the flows that leave their server; 1 is all of it.",
        "flows, offered: on the fullest inter-switch link, if all sent at line rate; offered is over its capacity.",
        "on fullest: transfers on the fullest inter-switch link, one per pair, each with the part that crosses it.",
        "fullest / ideal: that over what the link carries if all shared the load; 1 is best, out of few transfers' reach.",
        *([f"Failures leave up to {lost} flows of a pattern without a path; their share is 0."] if lost else []),
    ]
    return "".join(f"{note}\n" for note in notes)


def _share(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else _NONE
