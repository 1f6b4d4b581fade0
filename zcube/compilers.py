"""Processes that compile kernels beside this one: copies of it where it can be copied, else begun anew."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import current_process, get_context
from typing import Any, Protocol

from zcube.atomic_names import signals_held_back
from zcube.side_by_side import can_be_copied


class Compiler(Protocol):
    """What :class:`subprocess.Popen` and :class:`Copy` have."""

    def kill(self) -> None:
        """End it."""

    def wait(self) -> Any:
        """Wait for its end."""


class Copy:
    """A copy of this process, with all that is imported here, that does some work and is not heard.

    Parameters
    ----------
    work : callable
        Takes ``groups``.
    groups : sequence of str
        Of kernels.
    """

    def __init__(self, work: Callable[[Sequence[str]], None], groups: Sequence[str]):
        # A daemon is not awaited at the end of a process that was interrupted before it held the copy.
        self.process = get_context("fork").Process(target=_work_unheard, args=(work, groups), daemon=True)
        # A copy would hear them as this one does until it says otherwise.
        with signals_held_back():
            self.process.start()

    def kill(self) -> None:
        """End it."""
        self.process.kill()

    def wait(self) -> None:
        """Wait for its end."""
        self.process.join()


def _work_unheard(work: Callable[[Sequence[str]], None], groups: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP})
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    gc.disable()
    work(groups)


def started(work: Callable[[Sequence[str]], None], groups: Sequence[str]) -> Compiler:
    """Start a process that compiles groups; what a compiler makes is for the most part kept: looking for garbage is in vain.

    Parameters
    ----------
    work : callable
        A function of a module that takes ``groups``.
    groups : sequence of str
        Of kernels.
    """
    # A daemon, as the workers of a multiprocessing.Pool are, may have no children of that library's.
    if can_be_copied() and not current_process().daemon:
        return Copy(work, groups)
    # The same modules, from where they were found; -P keeps the present folder from standing before them.
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}\n"
        f"from {work.__module__} import {work.__name__}; {work.__name__}({list(groups)!r})"
    )
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-P", "-c", code], stdin=quiet, stdout=quiet, stderr=quiet)
