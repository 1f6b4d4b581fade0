"""Provenance of a run: what makes it repeatable, and what it took."""

from __future__ import annotations

import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from zcube import __version__
from zcube.out_folder import RECORD_VERSION

_PACKAGES = ("numpy", "numba", "pandas", "simpy", "pydantic")


class RunRecord:
    """Starts the clock when made."""

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_s = time.monotonic()

    def document(
        self, declared: dict[str, Any], calibration: dict[str, Any] | None, kind: str = "scenario", **more: Any
    ) -> dict[str, Any]:
        """Return the record as JSON-ready data.

        Parameters
        ----------
        declared : dict
            The scenario, or the demand of a plan, in full, defaults included; a run is repeated from it.
        calibration : dict or None
            What the result says of the calibration it was made with.
        kind : str
            What was declared, the key it stands under.
        **more
            What else a run is repeated from, JSON-ready.
        """
        return {
            "record_version": RECORD_VERSION,
            "zcube_version": __version__,
            "call": sys.argv[1:],
            kind: declared,
            **more,
            "seed": declared["seed"],
            "calibration": calibration,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "elapsed_s": round(time.monotonic() - self._started_s, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: version(name) for name in _PACKAGES},
        }


def peak_memory_bytes() -> int | None:
    """Return the largest resident set of the process and of those that it started and that have ended, None if not known."""
    try:
        import resource
    except ImportError:
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return int(peak if sys.platform == "darwin" else peak * 1024)
