"""The command line: one module per verb, no logic of its own.

Data goes to stdout, talk and progress to stderr. Exit status: 0 done, 1 a run failed, 2 bad input, 130 interrupted, 143 ended
by SIGTERM, which is cleaned up after like an interrupt.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from io import TextIOWrapper
from typing import Any

#: A verb loads much that stays, and makes few cycles.
OBJECTS_BETWEEN_COLLECTIONS = 50_000

#: Errors that only what writes meets.
OF_FULL_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ExitStatus(IntEnum):
    """What the process returns."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, as job schedulers and service managers send it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with an :class:`ExitStatus`.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: the process's own.
    """
    # Matrix products are few and small, and threads that wait for one spin on every processor while the program begins.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow's second allocator begins a thread of its own where pandas is imported, whoever allocates; a process with threads
    # cannot be copied.
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
    # Looking for plugins of pydantic reads the metadata of every installed package; none has a say in what is valid here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    if isinstance(sys.stdout, TextIOWrapper):
        # A reader of the pipe has a line as soon as it is there.
        sys.stdout.reconfigure(line_buffering=True)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    with _sigterm_raised() as terminated:
        try:
            status = _run([argument for argument in arguments if argument != "--debug"], debug)
        except KeyboardInterrupt:
            # While modules were loaded, or a fault was being told.
            status = ExitStatus.INTERRUPTED
        if status == ExitStatus.INTERRUPTED:
            if argv is None and threading.current_thread() is threading.main_thread():
                # Whoever presses the keys again has been heard: the process ends with its own status.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            said = ("terminated", ExitStatus.TERMINATED) if terminated else ("interrupted", ExitStatus.INTERRUPTED)
            status = _say(*said)
    # Python remembers an interrupt that left code compiled from text, as a dataclass or a kernel makes it, though it was caught
    # since, and ends under `-m` by SIGINT whatever the status; until it runs other such code.
    exec("")
    if argv is None:
        # What ends with the process need not be looked through for what has no owner.
        gc.freeze()
    sys.exit(status)


def _run(arguments: list[str], debug: bool) -> int:
    import typer

    from zcube.cli.app import command_for
    from zcube.errors import InputError, ZcubeError

    try:
        status = command_for(arguments).main(args=arguments, prog_name="zcube", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone; what it wanted it has.
        sys.stderr.close()
        return ExitStatus.DONE
    except InputError as error:
        if debug:
            raise
        count = len(error.faults)
        lines = [f"error: {count} fault{'s' * (count > 1)} in the input", *(f"  {fault}" for fault in error.faults)]
        return _say("\n".join(lines), ExitStatus.BAD_INPUT)
    except _usage_error() as error:
        error.show(sys.stderr)
        return ExitStatus.BAD_INPUT
    except Exception as error:
        if _was_interrupted(error):
            return ExitStatus.INTERRUPTED
        if debug:
            raise
        if isinstance(error, OSError) and error.filename is None and error.errno in OF_FULL_DISKS:
            # Whatever writes a file names it.
            return _say_no_output(error)
        kind = "" if isinstance(error, ZcubeError) else f"{type(error).__name__}: "
        return _say(f"error: {kind}{error}\nhint: --debug shows where", ExitStatus.FAILED)
    try:
        sys.stdout.flush()
    except OSError as error:
        return _say_no_output(error)
    # Some versions of Typer return the status of an interrupt instead of raising Abort.
    return status if isinstance(status, int) else ExitStatus.DONE


@contextmanager
def _sigterm_raised() -> Iterator[list[Terminated]]:
    """Raise :class:`Terminated` when SIGTERM comes, once, so that a second one does not disturb who cleans up.

    Yields the list that it is then in. Only the main thread hears of signals.
    """
    raised: list[Terminated] = []
    if threading.current_thread() is not threading.main_thread():
        yield raised
        return

    def terminate(number: int, frame: Any) -> None:
        if not raised:
            raised.append(Terminated())
            raise raised[0]

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield raised
    finally:
        signal.signal(signal.SIGTERM, before)


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether an error came of an interrupt, as where Numba cannot put a half compiled kernel away."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _usage_error() -> type[Any]:
    """Return the class of errors in the command line's form; which package holds it depends on Typer's version."""
    import typer

    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _say_no_output(error: OSError) -> int:
    # Python would write what is left again as it ends, and end by a status of its own.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _say(f"error: standard output cannot be written: {error.strerror or error}", ExitStatus.FAILED)


def _say(text: str, status: ExitStatus) -> int:
    print(text, file=sys.stderr)
    return status
