"""The largest resident memory of a process, as it is seen from within."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def own_peak_bytes() -> int:
    """Return this process's largest resident memory; on Linux without what its parent held before it began."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
