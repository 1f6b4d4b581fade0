"""Hearing of compilations, as they happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event


@contextmanager
def compilations_heard(hear: Callable[[bool], None]) -> Iterator[None]:
    """Call ``hear(True)`` when a kernel begins to be compiled and ``hear(False)`` when it is; one may begin within another."""

    class Hearing(event.Listener):
        def on_start(self, event: Any) -> None:
            hear(True)

        def on_end(self, event: Any) -> None:
            hear(False)

    with event.install_listener("numba:compile", Hearing()):
        yield
