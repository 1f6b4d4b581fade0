"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# Kernels take no memory, and their callers hold the arrays. Without Numba's counting of references to these, which is atomic
# and happens whenever an array is taken out of a tuple, the fluid runs three to four times as fast.
_OPTIONS = {"cache": True, "_nrt": False}


def kernel(function: Function) -> Function:
    """Compile a kernel that Python calls; it may take no memory."""
    compiled: Function = njit(**_OPTIONS)(function)  # type: ignore[call-overload]
    return compiled


def inner(function: Function) -> Function:
    """Compile a kernel that only other kernels call: without the wrappers for Python and C, a third of the compile time."""
    # Numba's stubs leave these options out.
    compiled: Function = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)  # type: ignore[call-overload]
    return compiled
