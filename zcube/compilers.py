"""Processes that compile kernels beside this one: copies of it where it can be copied, else begun anew."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from zcube.process_copy import Copy, may_have_copies


class Compiler(Protocol):
    """What :class:`subprocess.Popen` and :class:`Copy` have."""

    def kill(self) -> None:
        """End it."""

    def poll(self) -> int | None:
        """Return its exit status, None while it is at work."""

    def wait(self) -> Any:
        """Wait for its end."""


def started(work: Callable[[Sequence[str]], None], groups: Sequence[str]) -> Compiler:
    """Start a process that compiles groups; what a compiler makes is for the most part kept: looking for garbage is in vain.

    Parameters
    ----------
    work : callable
        A function of a module that takes ``groups``.
    groups : sequence of str
        Of kernels.
    """
    if may_have_copies():
        return Copy(work, groups)
    # The same modules, from where they were found; -P keeps the present folder from standing before them.
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}\n"
        f"from {work.__module__} import {work.__name__}; {work.__name__}({list(groups)!r})"
    )
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-P", "-c", code], stdin=quiet, stdout=quiet, stderr=quiet)
