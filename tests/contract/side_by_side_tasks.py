"""Tasks for runs in several processes, in a module that takes each of these no time to import."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError

Told = Callable[[float], None]


#: What a process that is started anew finds here.
MADE = ["anew"]


def made(task: int, told: Told) -> tuple[str, bool]:
    """Return how the process was made, and whether the default answer to SIGTERM is its own."""
    return MADE[0], signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def square(task: int, told: Told) -> int:
    told(0.5)
    return task * task


def fail_from_two_on(task: int, told: Told) -> int:
    if task == 2:
        time.sleep(0.5)
    if task >= 2:
        raise InputError([Fault(f"task {task}", "a number", "a smaller one"), Fault("all", "two faults", "none")])
    return task


def end(task: int, told: Told) -> int:
    if task:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return task


def end_while_answering(task: int, told: Told) -> bytes:
    """Answer with more than a pipe takes at once; be killed when it waits for the other end to read."""
    if task:
        time.sleep(0.5)
        return b""
    answering = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def kill_when_it_writes() -> None:
        # The system call of a thread that waits in one, write being number 1 on x86 and 64 on ARM.
        while answering.read_text().split()[0] not in ("1", "64"):
            time.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill_when_it_writes, daemon=True).start()
    return bytes(100_000_000)


def hold_python(seconds: int, told: Told) -> None:
    """Sleep in a call that lets no other thread of Python go on, as a kernel does."""
    told(0.5)
    ctypes.PyDLL(None).sleep(seconds)


def killed_on_zcube(*given: Any) -> None:
    """Do a verb's run, which is the last but one of what is given, until killed."""
    if "zcube-256" in given[-2].name:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def began_and_ended(task: float, told: Told) -> tuple[float, float]:
    began_s = time.monotonic()
    time.sleep(0.4)
    return began_s, time.monotonic()


def tell_often(task: int, told: Told) -> int:
    for step in range(20):
        told(step / 20)
        time.sleep(0.02)
    return os.getpid()
