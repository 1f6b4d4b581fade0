"""The page of what was planned for one fabric: its growth, room, seats and failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zcube import __version__
from zcube.report.inline_svg import inline_svg
from zcube.report.names import printable
from zcube.report.page import render_page

#: What a scenario tells of a run with something failed, by the document's keys.
SERVED = {
    "ttft_p50_s": "TTFT P50 s",
    "ttft_p99_s": "TTFT P99 s",
    "kv_transfer_p99_s": "KV transfer P99 s",
    "output_tokens_per_s": "tokens/s",
}


def standing_page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the page.

    Parameters
    ----------
    document : mapping
        ``FabricPlan.document()``.
    pictures : mapping
        SVG of the fabric and of its stages, by name.
    """
    return render_page(
        "standing.html.j2",
        fabric=printable(document["fabric"]),
        words=[printable(sentence) for sentence in _words(document)],
        pictures=[
            (printable(name), inline_svg(picture, f"drawing-{number}", printable(name)))
            for number, (name, picture) in enumerate(pictures.items())
        ],
        growth=document["growth"],
        rooms=document["rooms"],
        placement=document["placement"],
        failures=document["failures"],
        served=document["failures_on_scenario"],
        figures=SERVED,
        seed=document["seed"],
        version=__version__,
    )


def _words(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands out: what cuts GPUs off, what growth keeps and costs, what fails worst."""
    for stage in document["growth"]["stages"] if document["growth"] else ():
        cut = stage["steps_that_cut_off"]
        reach = (
            f"{cut:,} of {stage['steps']:,} steps cut GPUs in service off" if cut else "every GPU in service stays within reach"
        )
        usd = stage["bill"]["total_usd"] if stage["bill"] else None
        price = "a price is missing" if usd is None else f"{usd:,.0f} USD"
        kept = f"{stage['links_kept']:,} of {stage['links_before']:,} links stay, {stage['links_moved']:,} are moved"
        yield f"To {stage['gpus_after']:,} GPUs: {reach}; {kept}, {stage['links_added']:,} added; {price}."
    single = [row for row in document["failures"]["rows"] if row["kind"] != "two"] if document["failures"] else []
    if single:
        worst = max(single, key=lambda row: row["cut_off_worst"])
        if worst["cut_off_worst"]:
            yield f"A single failure cuts off up to {worst['cut_off_worst']:,} GPUs: {worst['cut_off_which']}."
        known = [row for row in single if row["slower_worst"] is not None]
        slowest = max(known, key=lambda row: row["slower_worst"], default=None)
        if slowest is not None:
            yield f"Of those run {slowest['slower_which']} slows transfers most, by {slowest['slower_worst']:.1%} on the mean."
    for one in document["failures_on_scenario"]["failed"] if document["failures_on_scenario"] else ():
        change = one["change"]["ttft_p99_s"]
        if change is not None:
            yield f"On the scenario {one['failure_of']} ({one['chosen_as']}) changes TTFT P99 by {change:+.1%}."
