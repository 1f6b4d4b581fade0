"""Tasks for executors, in a module that processes import in no time."""

from __future__ import annotations

import os
import signal
import time


def square(task, told):
    return task * task


def slow_square(task, told):
    time.sleep(0.3)
    return task * task, os.getpid()


def late_slow_square(task, told):
    time.sleep(0.3 if task >= 70 else 0.0)
    return task * task


def end_at_three(task, told):
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task
