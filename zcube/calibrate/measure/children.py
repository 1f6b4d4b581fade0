"""Running a command so that nothing of it outlives this process's interest: time limit, interrupt, whole process group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable

from zcube.calibrate.measure.drivers import Call
from zcube.errors import RunError

#: Lines and characters of a failed command's output that the error shows.
TAIL_LINES, LINE_CHARACTERS = 30, 400
#: Seconds between asking a process group to end and ending it.
GRACE_S = 10.0
_READ_CHARACTERS = 1 << 16


def run_call(call: Call, timeout_s: float, on_line: Callable[[str], None]) -> None:
    """Run a command to its end.

    Parameters
    ----------
    call : Call
    timeout_s : float
        After which its process group is killed.
    on_line : callable
        Gets each line of what it prints.

    Raises
    ------
    RunError
        If it cannot be started, fails, is killed or takes too long; with the end of its output.
    KeyboardInterrupt
        Passed on, after the process group has been killed.
    """
    try:
        child = subprocess.Popen(
            call.command,
            env=dict(call.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise RunError(f"{call.command[0]} cannot be started: {error.strerror}") from error
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    reader = threading.Thread(target=_read, args=(child, tail, on_line), daemon=True)
    reader.start()
    late = False
    try:
        child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        # Also after a good end: a rank that lives on would hold the GPU.
        end_group(child)
        reader.join(timeout=GRACE_S)
    if late:
        raise RunError(_message(f"killed after {timeout_s:g} s", tail))
    if child.returncode:
        how = f"exit status {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
        raise RunError(_message(how, tail))


def end_group(child: subprocess.Popen[str]) -> None:
    """End a child and all it started: ask, wait, kill."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            child.poll()
            # Signal 0 asks whether anything of the group is left.
            os.killpg(child.pid, 0)
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(child: subprocess.Popen[str], tail: deque[str], on_line: Callable[[str], None]) -> None:
    assert child.stdout is not None
    for line in iter(lambda: child.stdout.readline(_READ_CHARACTERS), ""):  # type: ignore[union-attr]
        text = line.rstrip("\n")
        tail.append(text[:LINE_CHARACTERS])
        on_line(text)


def _message(how: str, tail: deque[str]) -> str:
    return "\n".join([f"the benchmark ended with {how}; the end of what it printed:", *(f"  {line}" for line in tail)])
