"""What the processes of a run tell of themselves: the seam at which a run can be written down while it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from zcube.arrays import IntArray
from zcube.llm.exchanges import ExchangeParts


class Recorder:
    """Hears everything and keeps nothing. Requests, servers and GPUs go by their numbers.

    ``keeps_order`` says whether everything has to be told when it happens; else iterations that cannot change are told of
    together, and of pushes nothing is.
    """

    keeps_order = False

    def arrived(
        self, request: int, at_s: float, after: Sequence[int] = (), follows: int | None = None, delay_s: float = 0.0
    ) -> None:
        """Note a request's arrival: at a time of its own at the earliest, when some have ended, a delay after one has."""

    def ended(self, request: int) -> None:
        """Note the end of a request whose answer is its first token, or that is rejected."""

    def iteration(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Note that an instance begins an iteration, and the prompts that start in it."""

    def joins(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Note that a decode instance of several nodes begins steps, and the requests that join its batch."""

    def exchanges(
        self, servers: Sequence[int], source: IntArray, target: IntArray, size_bytes: IntArray, alone: ExchangeParts
    ) -> None:
        """Note that an instance's GPUs send to each other, and what that takes on an idle fabric.

        What they compute before they meet runs beside it.
        """

    def computes(self, servers: Sequence[int], seconds: float) -> None:
        """Note a computation of all GPUs of an instance."""

    def meets(self, servers: Sequence[int]) -> None:
        """Note that an instance has waited for its exchange and for what it computed."""

    def computed(self, request: int, server: int) -> None:
        """Note that the iteration that has ended on a server advanced a prompt."""

    def lacks_memory(self, server: int) -> None:
        """Note that a prompt found too little KV memory on a prefill server."""

    def frees_memory(self, server: int, request: int) -> None:
        """Note that a request's KV memory on a prefill server is free again."""

    def has_memory(self, server: int, request: int) -> None:
        """Note that a prompt has KV memory on a prefill server, and starts."""

    def prompt_at_decode(self, server: int, request: int, seconds: float) -> None:
        """Note that a decode node has computed a prompt."""

    def takes_over(self, request: int, ended: int) -> None:
        """Note that a request gets the decode node of one that has ended, and may go to prefill."""

    def taken_in(self, server: int, request: int, convert_s: float, inject_s: float) -> None:
        """Note that a decode node's GPU 0 has converted a request's cache and copied it to the others."""

    def reserves(self, server: int, is_first: bool) -> None:
        """Note that a request asks a decode node for room, and whether no other one waits there."""

    def released(self, server: int, request: int) -> None:
        """Note that an ended request's room is free again."""

    def granted(self, server: int, request: int) -> None:
        """Note that a request has room."""

    def prepares(self, request: int, source: IntArray, seconds: float) -> IntArray | None:
        """Note that a push is set up; the result is for :meth:`pushes`."""

    def pushes(self, request: int, source: IntArray, target: IntArray, size_bytes: IntArray, prepared: IntArray | None) -> None:
        """Note that a push is posted."""

    def leaves(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Note which requests of a decode instance of several nodes end with the steps that have passed."""

    def decodes(self, server: int, start_s: float, end_s: float, joined: Sequence[int], finished: Sequence[int]) -> None:
        """Note decode steps of one batch: the requests that joined it before them, and those that end with the last of them."""
