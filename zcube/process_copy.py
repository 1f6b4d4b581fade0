"""A copy of this process that does one piece of work beside it, with all that is imported and held here, and is not heard."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import current_process, get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from zcube.atomic_names import signals_held_back

#: Linux's ``prctl(2)``: the signal that a process gets when the thread that started it has ended.
_PR_SET_PDEATHSIG = 1


def can_be_copied() -> bool:
    """Return whether this process has one thread only, those of libraries included, and so can be copied whole."""
    # Elsewhere what a system's own libraries keep of a process may not be copied.
    if sys.platform != "linux":
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        # Where /proc is not mounted, nobody knows.
        return False


def may_have_copies() -> bool:
    """Return whether this process can be copied, and may be: a daemon, as the workers of a pool are, may have no children."""
    return can_be_copied() and not current_process().daemon


class Copy:
    """A copy of this process at work; see :func:`may_have_copies`.

    Parameters
    ----------
    work : callable
        What it does.
    *arguments
        What that takes; nothing is sent, for the copy holds it.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any):
        # A daemon is not awaited at the end of a process that was interrupted before it held the copy.
        self.process = get_context("fork").Process(target=_work_unheard, args=(work, arguments), daemon=True)
        # A copy would hear them as this one does until it says otherwise.
        with signals_held_back():
            self.process.start()

    def kill(self) -> None:
        """End it."""
        self.process.kill()

    def poll(self) -> int | None:
        """Return its exit status, None while it is at work; 1 where the system does not keep it, as for who ignores SIGCHLD."""
        if not wait([self.process.sentinel], 0):
            return None
        status = self.process.exitcode
        return 1 if status is None else status

    def wait(self) -> None:
        """Wait for its end."""
        self.process.join()


def _work_unheard(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_first_thread()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP})
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    gc.disable()
    work(*arguments)


def end_with_first_thread() -> None:
    """Let this copy end with the thread that made it, which is to live as long as its process does.

    A thread of Python that waited for that would wait until a kernel under way has returned.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
