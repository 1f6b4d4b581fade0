"""What is said of the loads from which on fabrics delay first tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.verdict.limits import WORDS, listed, plain_percent
from zcube.verdict.loads import effort, load_words


def knee_sentences(knee: Mapping[str, Any]) -> list[str]:
    """Return one sentence per fabric.

    Parameters
    ----------
    knee : mapping
        The comparison's, of its document.
    """
    return [_sentence(name, found, knee) for name, found in knee["fabrics"].items()]


def knee_rule(knee: Mapping[str, Any]) -> str:
    """Return what a knee is and how it was searched, in a sentence."""
    tried = effort(knee)
    probes = [run for found in knee["fabrics"].values() for run in found["runs"] if run["added"] is not None]
    lowest = min((run["added"] for run in probes), default=0.0)
    if lowest <= -knee["share"]:
        below = plain_percent(round(-lowest, 3))
        tried += f"; at one load the fabric lay {below} below the ideal core, so that noise exceeds the share: use more --seeds"
    return (
        f"Knee: the least load at which the P99 time to first token is {plain_percent(knee['share'])} above that of the same "
        f"requests on an ideal core with the same NICs, found between loads {plain_percent(knee['tolerance'])} apart or less; "
        f"{tried}."
    )


def _sentence(name: str, found: Mapping[str, Any], knee: Mapping[str, Any]) -> str:
    adds = f"{plain_percent(knee['share'])} to P99 time to first token"
    holds, fails = (None if found[end] is None else load_words(found[end], knee) for end in ("holds", "fails"))
    last = {run["load"]: run for run in found["runs"]}
    match found["status"]:
        case "found":
            added = " and ".join(_signed(last[found[end]]["added"]) for end in ("holds", "fails"))
            return f"Knee of {name}: it begins to add {adds} between {holds} and {fails} ({added})."
        case "at the lowest":
            return (
                f"Knee of {name}: below {fails}, the lowest load tried, where it adds {_signed(last[found['fails']]['added'])}."
            )
        case "saturated":
            limit = listed([WORDS[limit] for limit in last[found["fails"]]["ideal_full"]])
            up_to = f"it adds less than {adds} up to {holds}" if holds else "not to be found"
            return f"Knee of {name}: {up_to}; at {fails} the limit is {limit}, on an ideal network too."
        case "not reached":
            return f"Knee of {name}: it adds less than {adds} up to {holds}, the highest load tried."
        case "no window":
            up_to = f"it adds less than {adds} up to {holds}" if holds else "not to be found"
            return f"Knee of {name}: {up_to}; at {fails} there is nothing to compare: {last[found['fails']]['why_not']}."
        case _:
            ends = f"above {holds}" if fails is None else f"below {fails}" if holds is None else f"between {holds} and {fails}"
            return f"Knee of {name}: {ends}; the search ended after {len(found['runs'])} loads."


def _signed(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:+.1f} %"
