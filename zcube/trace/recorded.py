"""What a trace recorded from a run says of the network it ran on, and where a replay's network is another.

The metadata of such a trace holds under ``fabric`` the fabric's name, under ``network`` how bytes moved, under ``replay`` the
command that gives the run's transfers again, and under ``scenario`` what was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.outputs import flat


def recorded_metadata(fabric: str, network: Mapping[str, Any], replay: str, scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a recorded trace, JSON values only."""
    return {"fabric": fabric, "network": dict(network), "replay": replay, "scenario": dict(scenario)}


def recorded_otherwise(metadata: Mapping[str, Any], fabric: str, network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return where a replay differs from the run a trace was recorded from.

    Parameters
    ----------
    metadata : mapping
        Of any trace; nothing differs where it was not recorded from a run.
    fabric : str
        Name of the replay's fabric.
    network : mapping
        How bytes move in the replay, keys as recorded; a key that is missing counts as null.

    Returns
    -------
    list of dict
        ``key``, ``recorded`` and ``replayed``, of ``fabric`` and of every key of the network in order.
    """
    recorded = metadata.get("network")
    if not isinstance(recorded, dict) or not isinstance(metadata.get("fabric"), str):
        return []
    then, now = flat({"fabric": metadata["fabric"], **recorded}), flat({"fabric": fabric, **network})
    return [
        {"key": key, "recorded": then.get(key), "replayed": now.get(key)}
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]
