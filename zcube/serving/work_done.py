"""Which part of a serving run's work is done, about as the wall clock sees it."""

from __future__ import annotations

from array import array

import numpy as np

from zcube.workload.requests import RequestTrace

#: Parts of a simulation's time that go with the tokens computed and with the requests whose cache has reached a decode node,
#: the rest with those that end; part of the tokens an unlimited prefix cache would save that caches are expected to save.
#: Chosen so that estimates of three small runs fit (tests/analytic/test_time_left.py); not measured on larger ones.
PREFILL_SHARE, JOINED_SHARE, HITS_EXPECTED = 0.45, 0.45, 0.9


class WorkDone:
    """Counts the tokens that prefill has computed, those it is expected to compute yet, and requests that join a batch or end.

    Requests end late, and simulated time runs fastest at the end, when only decode is left.

    Parameters
    ----------
    trace : RequestTrace
        All requests.
    """

    def __init__(self, trace: RequestTrace):
        self._tokens = trace.input_tokens
        held = trace.ideal_hits() * trace.block_tokens if trace.block_tokens else np.zeros_like(self._tokens)
        #: Expected to be computed per prompt token.
        expected = 1.0 - HITS_EXPECTED * np.minimum(held, self._tokens - 1) / self._tokens
        self._computed, self._to_come = 0, float((expected * self._tokens).sum())
        # Rows of these arrays are taken one by one, which an array of Python does faster.
        self._expected, self._reached = array("d", expected.tobytes()), array("q", bytes(8 * len(expected)))
        self._joined = bytearray(len(expected))
        self._joins = self._ended = 0

    def reach(self, request: int, tokens: int, computed: bool = True) -> None:
        """Note how far a prompt has come, by tokens computed or found in a cache."""
        more = tokens - self._reached[request]
        self._reached[request] = tokens
        if computed:
            self._computed += more
        self._to_come -= more * self._expected[request]

    def join(self, request: int) -> None:
        """Note that a request's cache has arrived where it is decoded."""
        self._joins += 1 - self._joined[request]
        self._joined[request] = 1

    def end(self, request: int) -> None:
        """Note that a request has ended, or was turned away."""
        if self._reached[request] < self._tokens[request]:
            self.reach(request, int(self._tokens[request]), computed=False)
        if not self._joined[request]:
            self.join(request)
        self._ended += 1

    @property
    def share(self) -> float:
        """The part of the work that is done."""
        if self._ended == len(self._tokens):
            return 1.0
        # Rounding may leave a last token's part.
        prefill = self._computed / (self._computed + max(self._to_come, 0.0)) if self._computed else 0.0
        requests = JOINED_SHARE * self._joins + (1.0 - PREFILL_SHARE - JOINED_SHARE) * self._ended
        return PREFILL_SHARE * prefill + requests / len(self._tokens)
