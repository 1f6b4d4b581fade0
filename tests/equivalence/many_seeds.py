"""How many drawn cases the twins are held against: few by default, more in ``verification/``."""

from __future__ import annotations

import os


def seeds(few: int) -> range:
    """Return the seeds of drawn cases: so many, times what ``ZCUBE_TIMES_SEEDS`` says."""
    return range(few * int(os.environ.get("ZCUBE_TIMES_SEEDS", "1")))
