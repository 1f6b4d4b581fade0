"""Runs that answer with arrays, in a module that processes started anew can import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.run_answer import LEAST_BYTES

Told = Callable[[float], None]

#: Numbers of eight bytes that go by a file, and that do not.
MANY, FEW = LEAST_BYTES // 8, 10


@dataclass(frozen=True)
class Settings:
    """An object of a task."""

    rate: int


@dataclass(frozen=True, eq=False)
class Task:
    """A task that holds what its answer gives back."""

    given: np.ndarray
    settings: Settings
    numbers: int
    nothing: None = None


def answer(task: Task, told: Told) -> dict[str, Any]:
    """Return arrays of every kind, what the task holds, and what is no array."""
    numbers, read_only = np.arange(task.numbers, dtype=np.float64), np.arange(task.numbers)
    read_only.setflags(write=False)
    return {
        "numbers": numbers,
        "again": numbers,
        "frozen": np.broadcast_to(7.5, (task.numbers, 2)),
        "by columns": np.asfortranarray(np.arange(task.numbers).reshape(2, -1)),
        "read-only": read_only,
        "every second": np.arange(task.numbers)[::2],
        "empty": np.empty((0, 3), dtype=np.int32),
        "one": np.array(3.0),
        "texts": np.array(["a", None], dtype=object),
        "given": task.given,
        "settings": (task.settings, task.nothing, {"numbers": task.numbers}),
    }


def fail(task: int, told: Told) -> np.ndarray:
    """Answer but for task 1."""
    if task == 1:
        raise ValueError("no answer")
    return np.ones(MANY)


def ones(task: int, told: Told) -> np.ndarray:
    """Return as many as the task says."""
    return np.ones(task)
