"""What is said of the loads from which on fabrics delay first tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.verdict.limits import WORDS
from zcube.verdict.loads import effort, load_words
from zcube.verdict.words import listed, plain_percent


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
    if any(run.get("on_one_side") for run in probes):
        tried += "; over other requests: some were served on one of the two only"
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
            added = " and ".join(_added(last[found[end]]) for end in ("holds", "fails"))
            return f"Knee of {name}: it begins to add {adds} between {holds} and {fails} ({added})."
        case "at the lowest":
            return f"Knee of {name}: below {fails}, the lowest load tried, where it adds {_added(last[found['fails']])}."
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


def _added(run: Mapping[str, Any]) -> str:
    if run["added"] is None:
        return "not known"
    return f"{100 * run['added']:+.1f} %" + " over other requests" * bool(run.get("on_one_side"))
