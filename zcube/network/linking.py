"""Kernels that only other kernels call, compiled into those and not for themselves.

Numba optimises every function with all that it calls linked in, makes machine code of it, and does so again for its callers.
Of a kernel that Python never calls nothing of this is used: what its callers take is its code as first written. Numba also
compiles a function anew for every width of a whole number and every constant that it is called with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite.binding import Linkage  # type: ignore[import-untyped]
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.core.typing import make_concrete_template

#: Names of passes for what no kernel uses: closures, contexts, literals, expressions of whole arrays, overloads that are
#: inlined, listings.
UNUSED = {
    "annotate_types", "dead_branch_prune", "dump_parfor_diagnostics", "find_literally", "inline_closure_likes",
    "inline_inlinables", "inline_overloads", "LiteralPropagation", "literal_unroll", "make_function_op_code_to_jit_function",
    "nopython_rewrites", "nopython_supported_feature_validation", "Rewrite dynamic raises", "rewrite_semantic_constants",
    "with_lifting",
}  # fmt: skip


class WholeLibrary(JITCodeLibrary):
    """Code of a kernel that Python calls, whose parts nothing else sees: one called in one place becomes part of that."""

    def _optimize_final_module(self) -> None:
        for function in _defined(self._final_module, Linkage.linkonce_odr):
            function.linkage = "internal"
        super()._optimize_final_module()
        # LLVM may have changed what they take. Yet as it loads a function that several kernels have, it keeps any of that name
        # that is loaded, one which is internal to another kernel too.
        for function in _defined(self._final_module, Linkage.internal):
            function.name = f"whole.{function.name}"


class LinkedLibrary(JITCodeLibrary):
    """Code of one kernel for others to link, together with what it calls; never machine code."""

    _linked = None

    def _optimize_functions(self, ll_module: Any) -> None:
        # Whoever calls it is optimised with it.
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        """Take no more code."""
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        if self._linked is None:
            module = self._final_module
            for library in dict.fromkeys(self._linking_libraries):
                module.link_in(library._get_module_for_linking(), preserve=True)
            for function in _defined(module, Linkage.external):
                function.linkage = "linkonce_odr"
            self._linked = module
        return self._linked


@register_pass(mutates_CFG=True, analysis_only=False)
class LinkedLowering(NativeLowering):
    """Lowering that stops before machine code."""

    _name = "zcube_linked_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower a function into a :class:`LinkedLibrary`."""
        state.library = LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        # What Numba tells compiled functions apart by is a built-in function for each.
        never_called = list[Any]().append
        state.library.finalize()
        state.targetctx.insert_user_function(never_called, state["cr"].fndesc, [state.library])
        function, helper, _, environment = state["cr"]
        state["cr"] = type(state["cr"])(function, helper, never_called, environment)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class WholeLowering(NativeLowering):
    """Lowering into a :class:`WholeLibrary`."""

    _name = "zcube_whole_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower a function."""
        state.library = WholeLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


class WholeCompiler(CompilerBase):
    """Numba's compiler, with :class:`WholeLowering`."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(WholeLowering if step is NativeLowering else step, name) for step, name in passes.passes]
        return [passes]


class LinkedCompiler(CompilerBase):
    """Numba's compiler, with :class:`LinkedLowering` and without what kernels do not use."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        used = [(step, name) for step, name in passes.passes if step._name not in UNUSED]
        passes.passes = [(LinkedLowering if step is NativeLowering else step, name) for step, name in used]
        return [passes]


def _defined(module: Any, linkage: Linkage) -> list[Any]:
    """Return the functions of a module that it defines with a linkage."""
    return [function for function in module.functions if not function.is_declaration and function.linkage == linkage]


def widen_arguments(dispatcher: Any) -> None:
    """Let a compiled function take every whole number but those of ``uint64`` as ``int64``, constants too."""

    def call_template(arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
        signature, folded = dispatcher._compiler.fold_argument_types(arguments, keywords)
        taken = tuple(_widened(types.unliteral(argument)) for argument in folded)
        dispatcher.compile(taken)
        name = dispatcher.py_func.__name__
        template = make_concrete_template(name, key=name, signatures=dispatcher.nopython_signatures)
        return template, signature, taken, {}

    dispatcher.get_call_template = call_template


def _widened(argument: Any) -> Any:
    narrow = isinstance(argument, types.Integer) and argument.bitwidth < 64  # type: ignore[attr-defined]
    return types.int64 if narrow else argument
