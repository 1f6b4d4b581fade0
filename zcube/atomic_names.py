"""Two names of one folder exchanged, so that neither is ever missing.

The standard library has no such call. Linux has ``renameat2`` with ``RENAME_EXCHANGE`` (since 3.15, glibc 2.28), macOS
``renamex_np`` with ``RENAME_SWAP``; file systems may refuse both. Elsewhere three renames do it with signals held back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zcube.workplace import ASIDE

_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_AT_FDCWD = -100


def exchange_names(one: Path, other: Path) -> None:
    """Exchange the names of two files or folders of one file system.

    Raises
    ------
    OSError
        If that fails; both then have the names they had.
    """
    if not _exchanged_at_once(one, other):
        _exchange_in_steps(one, other)


def _exchanged_at_once(one: Path, other: Path) -> bool:
    """Return whether the system exchanged the names in one call; False where it cannot."""
    first, second = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(first, second, _RENAME_SWAP) == 0)
        return bool(library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0)
    except (OSError, TypeError, AttributeError):
        return False


def _exchange_in_steps(one: Path, other: Path) -> None:
    aside = one.with_name(ASIDE)
    with signals_held_back():
        other.rename(aside)
        try:
            one.rename(other)
        except BaseException:
            aside.rename(other)
            raise
        aside.rename(one)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let interrupts wait until the block has ended, where the system can."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
