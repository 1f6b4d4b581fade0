"""Tasks for runs in several processes, in a module that takes each of these no time to import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
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
