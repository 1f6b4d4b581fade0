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
from numba.core import ir
from numba.core.analysis import dead_branch_prune
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import get_definition, guard
from numba.core.typed_passes import NativeLowering
from numba.core.typing import make_concrete_template
from numba.core.untyped_passes import ReconstructSSA

#: Names of passes for what no kernel uses: closures, contexts, literals, expressions of whole arrays, overloads that are
#: inlined, listings, what is printed, the end of references.
UNUSED = {
    "annotate_types", "dead_branch_prune", "dump_parfor_diagnostics", "find_literally", "generic_rewrites",
    "inline_closure_likes", "inline_inlinables", "inline_overloads", "ir_legalization", "LiteralPropagation", "literal_unroll",
    "make_function_op_code_to_jit_function", "nopython_rewrites", "nopython_supported_feature_validation",
    "Rewrite dynamic raises", "rewrite_semantic_constants", "with_lifting",
}  # fmt: skip


class LinkedLibrary(JITCodeLibrary):
    """Code of one kernel for others to link, together with what it calls; never machine code."""

    _linked = None

    def _optimize_functions(self, ll_module: Any) -> None:
        # Whoever calls it is optimised with it.
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        """Take no more code."""
        for function in _defined(self._final_module, Linkage.external):
            function.linkage = "linkonce_odr"
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        if self._linked is None:
            self._linked = self._final_module.clone()
            _link_called(self._linked, self)
        return self._linked


class WholeLibrary(JITCodeLibrary):
    """Code of a kernel that Python calls, whose parts nothing else sees: one called in one place becomes part of that."""

    def finalize(self) -> None:
        """Take in the code of all that is called, each once, and make machine code of it."""
        _link_called(self._final_module, self)
        self._linking_libraries = []
        super().finalize()

    def _optimize_final_module(self) -> None:
        for function in _defined(self._final_module, Linkage.linkonce_odr):
            function.linkage = "internal"
        super()._optimize_final_module()
        # LLVM may have changed what they take. Yet as it loads a function that several kernels have, it keeps any of that name
        # that is loaded, one which is internal to another kernel too.
        for function in _defined(self._final_module, Linkage.internal):
            function.name = f"whole.{function.name}"


def _link_called(module: Any, library: JITCodeLibrary) -> None:
    """Put into a library's module all that it calls, each after who calls it: LLVM leaves out what nothing has called yet."""
    found: dict[JITCodeLibrary, None] = {}
    ahead = library._linking_libraries[::-1]
    while ahead:
        called = ahead.pop()
        if called not in found:
            found[called] = None
            if isinstance(called, LinkedLibrary):
                module.link_in(called._final_module, preserve=True)
                ahead += called._linking_libraries[::-1]
            else:
                module.link_in(called._get_module_for_linking(), preserve=True)


@register_pass(mutates_CFG=True, analysis_only=False)
class KnownFields(FunctionPass):
    """Puts what is known of the fields of arguments in their place, and leaves out what is never come to then."""

    _name = "zcube_known_fields"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change a function as first read."""
        known = {place: kind.known for place, kind in enumerate(state.args) if getattr(kind, "known", None)}
        function, found = state.func_ir, False
        for block in function.blocks.values() if known else ():
            for assigned in block.find_insts(ir.Assign):
                value = assigned.value
                if isinstance(value, ir.Expr) and value.op == "getattr":
                    holder = guard(get_definition, function, value.value)
                    if isinstance(holder, ir.Arg) and value.attr in known.get(holder.index, ()):
                        assigned.value = ir.Const(known[holder.index][value.attr], value.loc)
                        definitions = function._definitions[assigned.target.name]
                        definitions[definitions.index(value)] = assigned.value
                        found = True
        if found:
            dead_branch_prune(function, state.args)
        return found


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
        ssa = next(place for place, (step, _) in enumerate(used) if step is ReconstructSSA)
        used.insert(ssa, (KnownFields, "known fields"))
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
