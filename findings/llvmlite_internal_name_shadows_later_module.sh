#!/usr/bin/env bash
# llvmlite 0.50.0: a function that is internal to one module stands in for a later module's own function of the same name.
#
# In LLVM "internal" means that nothing outside its module sees a function, so that LLVM may change what it takes and returns.
# Two modules are added to one MCJIT engine. The first has an internal "part", the second a "part" of its own with linkage
# linkonce_odr (as Numba gives to what a kernel has linked in). The second module's function is expected to call its own; it
# calls the internal one of the first: the loader enters local symbols into the same table, and drops a weak definition whose
# name is in it. With Numba, whose part may have lost an argument by then, this is a wrong result or a segmentation fault.
#
# Seen: llvmlite 0.50.0: called "2" in the order weak, internal; "1" in the order internal, weak (2 expected in both).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llvmlite==0.50.0
cat > "$work/two.py" <<'PY'
import ctypes
from importlib.metadata import version

import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def module(linkage, answer, caller):
    text = f"""
define {linkage} i64 @part() noinline {{
  ret i64 {answer}
}}
define i64 @{caller}() {{
  %taken = call i64 @part()
  ret i64 %taken
}}
"""
    return llvm.parse_assembly(text)


def called(order):
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    for name in order:
        engine.add_module(module(*{"internal": ("internal", 1, "first"), "weak": ("linkonce_odr", 2, "second")}[name]))
        engine.finalize_object()
    return ctypes.CFUNCTYPE(ctypes.c_int64)(engine.get_function_address("second"))()


print(f"llvmlite {version('llvmlite')}: weak, internal: {called(['weak', 'internal'])}; internal, weak: {called(['internal', 'weak'])}")
PY
said=$("$work/venv/bin/python" "$work/two.py")
echo "$said"
[[ $said == "llvmlite 0.50.0: weak, internal: 2; internal, weak: 1" ]]
