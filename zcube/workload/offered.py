"""The requests of a run, and what became of their clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from zcube.workload.coding_agent import generate_requests, span_s
from zcube.workload.readers import read_requests
from zcube.workload.requests import RequestTrace
from zcube.workload.source import GENERATOR, Requests

#: Runs of one process often have the same requests, as points of a sweep of the network do; few are kept, as they are large.
kept_requests = lru_cache(maxsize=2)(generate_requests)


@dataclass(frozen=True, eq=False)
class OfferedRequests:
    """Requests as a run sees them.

    Attributes
    ----------
    trace : RequestTrace
        At the rate they come.
    own_span_s : float
        First to last arrival by the source's own clock.
    clock : {"own", "rescaled", "spaced", "generated", "closed loop"}
        Whose times they come by: the file's; the file's multiplied by ``time_factor``; even spacing of sessions that the file
        starts all at once; the generator's at a set rate; nobody's, since a closed loop sends when an answer is there.
    time_factor : float or None
        What the file's times were multiplied by; None where they are not used.
    """

    trace: RequestTrace
    own_span_s: float
    clock: str
    time_factor: float | None

    def document(self) -> dict[str, Any]:
        """Return source, summary and clock as JSON-ready data."""
        trace = self.trace
        closed = self.clock == "closed loop"
        return {
            "source": trace.source,
            **asdict(trace.summary()),
            "clock": {
                "kind": self.clock,
                "own_span_s": self.own_span_s,
                "own_rate_per_s": _rate(len(trace), self.own_span_s),
                "time_factor": self.time_factor,
                "rate_per_s": None if closed else _rate(len(trace), trace.duration_s),
            },
            "notes": list(trace.notes),
        }


def _rate(requests: int, span_s: float) -> float | None:
    return requests / span_s if span_s > 0 else None


def offered_requests(requests: Requests, rate_per_s: float | None, closed_loop: bool, seed: int) -> OfferedRequests:
    """Read or generate requests, cut to their count and brought to a rate.

    Parameters
    ----------
    requests : Requests
        Their source.
    rate_per_s : float, optional
        Mean rate of an open loop; default: the source's own times.
    closed_loop : bool
        Whether requests are sent when others end; times then count for their order only.
    seed : int
        Of the generator.

    Raises
    ------
    InputError
        If the file is broken, or has no two times to set a rate by.
    """
    rate = None if closed_loop else rate_per_s
    if requests.source == GENERATOR:
        trace = _generated(requests, rate, seed)
        return OfferedRequests(trace, trace.duration_s, "closed loop" if closed_loop else "generated", None)
    own = read_requests(Path(requests.source), max_requests=requests.count, options=requests.read_options)
    if closed_loop:
        return OfferedRequests(own, own.duration_s, "closed loop", None)
    if rate is None:
        return OfferedRequests(own, own.duration_s, "own", 1.0)
    if len(own) == 1:
        return OfferedRequests(own, 0.0, "own", 1.0)
    trace = own.at_rate(rate)
    if not own.duration_s:
        return OfferedRequests(trace, 0.0, "spaced", None)
    return OfferedRequests(trace, own.duration_s, "rescaled", trace.duration_s / own.duration_s)


def _generated(requests: Requests, rate_per_s: float | None, seed: int) -> RequestTrace:
    """Return generated requests; a rate is met by more sessions, not by users who think faster."""
    agent, count = requests.coding_agent, requests.count
    assert count is not None
    own_span_s = 0.0 if rate_per_s is None else span_s(agent, count, seed)
    if rate_per_s is None or not own_span_s:
        return kept_requests(agent, count, seed)
    starts = agent.session_starts_per_s * rate_per_s * own_span_s / count
    trace = kept_requests(agent.model_copy(update={"session_starts_per_s": starts}), count, seed)
    return trace.at_rate(rate_per_s) if trace.duration_s else trace
