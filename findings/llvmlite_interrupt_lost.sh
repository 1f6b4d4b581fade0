#!/usr/bin/env bash
# llvmlite 0.50.0: with an object cache, Ctrl-C while LLVM compiles is printed and forgotten; the compiling call returns.
#
# `ExecutionEngine.finalize_object()` holds the process in LLVM, so that Python handles a SIGINT only when it next runs: without
# an object cache when the call returns, and KeyboardInterrupt reaches the caller. With one set by `set_object_cache`, Python
# runs first inside the ctypes callback that hands the object over. An exception cannot leave such a callback: it goes to
# `sys.unraisablehook`, the cache is not given the object, and `finalize_object()` returns as if nothing had been pressed. Numba
# sets an object cache for every kernel, so that a program whose kernels are being compiled may go on after Ctrl-C.
#
# Seen: llvmlite 0.50.0 on CPython 3.11: without a cache "raised KeyboardInterrupt", with one "returned, KeyboardInterrupt
# unraisable, 0 objects handed over".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llvmlite==0.50.0
cat > "$work/look.py" <<'PY'
import os
import signal
import sys
import threading
from importlib.metadata import version

import llvmlite.binding as llvm
from llvmlite import ir

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
double = ir.DoubleType()
module = ir.Module("many functions, so that compiling takes a second or two")
for number in range(300):
    function = ir.Function(module, ir.FunctionType(double, [double]), f"f{number}")
    builder = ir.IRBuilder(function.append_basic_block())
    value = function.args[0]
    for step in range(40):
        value = builder.fadd(builder.fmul(value, ir.Constant(double, 1.0 + step)), value)
    builder.ret(value)


def interrupted(with_cache: bool) -> str:
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    handed, unraisable = [], []
    if with_cache:
        engine.set_object_cache(lambda module, buffer: handed.append(len(buffer)), lambda module: None)
    sys.unraisablehook = lambda told: unraisable.append(told.exc_type.__name__)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        engine.finalize_object()
        ended = "returned"
    except KeyboardInterrupt:
        ended = "raised KeyboardInterrupt"
    return f"{ended}, {', '.join(unraisable) or 'nothing'} unraisable, {len(handed)} objects handed over"


seen = [interrupted(False), interrupted(True)]
print(f"llvmlite {version('llvmlite')}: without a cache: {seen[0]}; with one: {seen[1]}")
assert seen[0] == "raised KeyboardInterrupt, nothing unraisable, 0 objects handed over"
assert seen[1] == "returned, KeyboardInterrupt unraisable, 0 objects handed over"
PY
"$work/venv/bin/python" "$work/look.py"
