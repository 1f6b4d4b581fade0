"""Kernels that only other kernels call, compiled as parts of those: once each, and without machine code of their own.

Numba compiles a function that another one calls for every combination of its argument types, literals told apart, optimises it
together with all that it calls in turn, and makes machine code of the whole, level by level of the calls. A part is compiled
for 64-bit integers, whatever narrower ones it is called with, and its code goes as it is to whoever is called from Python,
where it is inlined and optimised with the rest: half of the time, and machine code as fast.

The means are Numba's documented custom compiler and, undocumented, its flag ``no_compile``, its class of libraries and the
dispatcher's choice of a signature; ``tests/contract/test_numba_options.py`` says when a version of Numba no longer heeds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

#: Passes of Numba's, by name, that serve what no kernel here has: closures, objects, literals told apart, array expressions,
#: inlining by Numba itself. Each makes Numba look through the function's variables anew.
_NEEDLESS = (
    "with_lifting", "inline_closure_likes", "dead_branch_prune", "make_function_op_code_to_jit_function", "inline_inlinables",
    "find_literally", "literal_unroll", "LiteralPropagation", "inline_overloads", "nopython_rewrites",
    "nopython_supported_feature_validation", "dump_parfor_diagnostics",
)  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])


def part(function: Function, **options: Any) -> Function:
    """Return a function as a part of the kernels that call it; Python cannot call it.

    Parameters
    ----------
    function : callable
        A function that Numba compiles.
    **options
        Of Numba's decorator, ``cache`` excepted: a part is kept inside the kernels that call it.
    """
    called: Any = _PartDispatcher(function, {}, {"nopython": True, **options}, pipeline_class=_PartCompiler)
    return called


class _Part(JITCodeLibrary):
    """Code that is neither linked nor optimised, and of which no machine code is made."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        self._finalized = True

    @property
    def called(self) -> list[Any]:
        """Libraries of all that this code calls, directly or not."""
        return list(dict.fromkeys(self._linking_libraries))


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginPart(LoweringPass):
    """Have the code that is about to be made go into a part."""

    _name = "begin_part"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _EndPart(LoweringPass):
    """Tell Numba by what a part is called, and that who calls it links what it calls, too."""

    _name = "end_part"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        entry = object()
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library, *state.library.called])
        lowered = state.cr
        state.cr = _LowerResult(lowered.fndesc, lowered.call_helper, entry, lowered.env)
        return False


class _PartCompiler(CompilerBase):
    def define_pipelines(self) -> list[PassManager]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state, "part")
        passes.add_pass_after(_EndPart, NativeLowering)
        # Numba has no way to name the pass that another one shall stand before.
        before = passes.passes[[kind for kind, _ in passes.passes].index(NativeLowering) - 1][0]
        passes.add_pass_after(_BeginPart, before)
        passes.passes = [entry for entry in passes.passes if entry[0]._name not in _NEEDLESS]
        passes.finalize()
        return [passes]


class _PartDispatcher(CPUDispatcher):
    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template(tuple(map(_wide, args)), {name: _wide(kind) for name, kind in dict(kws).items()})

    def add_overload(self, cres: Any) -> None:
        self.overloads[tuple(cres.signature.args)] = cres

    def _compile_for_args(self, *args: Any, **kws: Any) -> NoReturn:
        raise TypeError(f"{self.py_func.__name__} is called by kernels only")


def _wide(argument: Any) -> Any:
    """Return the one type that a part takes for all integers of up to 64 bits, unsigned ones of 64 bits excepted."""
    kind: Any = types.unliteral(argument)
    is_narrow = isinstance(kind, types.Integer) and getattr(kind, "bitwidth", 64) < 64
    return types.int64 if is_narrow else kind
