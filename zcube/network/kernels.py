"""How kernels that take no memory are compiled, and the private options of Numba that this rests on.

Four options and a method that Numba does not document stand here, libraries and passes of its compiler in ``linking.py``, and
nothing of the kind elsewhere; ``tests/contract/test_numba_options.py`` names the one that a version of Numba no longer knows
or heeds. Lowering to LLVM's own instructions, in ``records.py`` and
``control.py`` of ``network/packet``, is by Numba's documented ``intrinsic``, with ``llvmlite``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import types

from zcube.compile_cache import compiled, unkept
from zcube.network.linking import LinkedCompiler, widen_arguments

Function = TypeVar("Function", bound=Callable[..., Any])

#: Kernels take no memory, and their callers hold the arrays. Without Numba's counting of references to these, which is atomic
#: and happens whenever an array is taken out of a tuple, the fluid runs three to four times as fast.
UNCOUNTED = {"_nrt": False}

#: Without the wrappers for Python and C, a third of the compile time.
UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: A call hands over every array of a tuple; where this takes longer than what is called, LLVM is to put it into its callers.
INLINED = {"forceinline": True}


def kernel(function: Function) -> Function:
    """Compile a kernel that Python calls; it may take no memory."""
    return compiled(**UNCOUNTED)(function)


def inner(function: Function) -> Function:
    """Compile a kernel that only other kernels call."""
    return _linked(function)


def inlined(function: Function) -> Function:
    """Compile a kernel that only other kernels call into each of them, which must not be many."""
    return _linked(function, **INLINED)


def _linked(function: Function, **options: bool) -> Function:
    # Kept are the kernels that it becomes part of.
    linked = unkept(pipeline_class=LinkedCompiler, **UNCOUNTED, **UNWRAPPED, **options)(function)
    widen_arguments(linked)
    return linked


def address(function: Callable[..., None], arguments: tuple[Any, ...]) -> int:
    """Return where a kernel that returns nothing lies as a C function, compiled for some argument types if it is not yet.

    Raises
    ------
    TypeError
        If the function is no kernel.
    """
    compile_for = getattr(function, "get_compile_result", None)
    if compile_for is None:
        raise TypeError(f"{function!r} is no kernel: decorate it with zcube.network.kernels.kernel")
    result = compile_for(types.none(*arguments))
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))
