"""Names of communication operations, in traces and calibrations alike, and how others spell them.

An importer or reader puts what its format says through :func:`canonical`; from there on these names hold, in files too. What
names of NCCL's programs and functions have before and behind, :mod:`zcube.calibrate.operations` takes off.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: Name of a transfer made of a send and its receive.
SEND_RECEIVE = "send-receive"
ALL_TO_ALL = "all-to-all"
SEND, RECEIVE, BARRIER = "send", "receive", "barrier"

_NAMES = {
    "allreduce": "all-reduce",
    "allgather": "all-gather",
    "reducescatter": "reduce-scatter",
    "reducescatterblock": "reduce-scatter",
    "alltoall": "all-to-all",
    "alltoallv": "all-to-all",
    "broadcast": "broadcast",
    "bcast": "broadcast",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "send": SEND,
    "recv": RECEIVE,
    "receive": RECEIVE,
    "barrier": BARRIER,
    "wait": "wait",
}
#: What PyTorch appends to the names of the same operations (ProcessGroupNCCL.cpp).
_SUFFIX = re.compile(r"(base|oop|single|intotensor|tensor|coalesced|async)+$")


@lru_cache(maxsize=1024)
def canonical(name: str) -> str | None:
    """Return this program's name of an operation, whatever the format calls it; None if it is none known."""
    plain = re.sub(r"[^a-z]", "", name[:80].lower())
    return _NAMES.get(plain) or _NAMES.get(_SUFFIX.sub("", plain))
