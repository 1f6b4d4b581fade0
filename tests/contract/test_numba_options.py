"""The options of Numba that ``zcube.network.kernels`` rests on and that Numba does not document still do what is expected."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest
from llvmlite.binding import Linkage

from zcube.network.kernels import INLINED, UNCOUNTED, UNWRAPPED, address, inlined, inner, kernel
from zcube.network.linking import WholeCompiler

# What an option, by its name, keeps out of the code of a function that takes arrays out of a tuple, or puts there.
ABSENT = {"_nrt": "NRT_decref", "no_cpython_wrapper": "cpython", "no_cfunc_wrapper": "@cfunc."}
PRESENT = {"forceinline": "alwaysinline"}
OPTIONS = {**UNCOUNTED, **UNWRAPPED, **INLINED}


def total(arrays):
    first, second = arrays
    result = 0.0
    for place in range(len(first)):
        taken = second if place % 2 else first
        result += taken[place]
    return result


def code(**options) -> str:
    compiled = numba.njit(**options)(total)
    compiled.compile("(UniTuple(float64[::1], 2),)")
    return compiled.inspect_llvm(compiled.signatures[0])


def test_every_private_option_has_a_case():
    assert OPTIONS.keys() == {**ABSENT, **PRESENT}.keys()


@pytest.mark.parametrize("option", OPTIONS)
def test_a_private_option_is_known_and_heeded(option):
    version = f"Numba {numba.__version__}"
    try:
        found = code(**{option: OPTIONS[option]})
    except KeyError as error:
        pytest.fail(f"{version} no longer knows the option {option}, see zcube/network/kernels.py: {error}")
    seen, is_absent = {**ABSENT, **PRESENT}[option], option in ABSENT
    assert (seen in code()) == is_absent, f"{version} writes {seen} elsewhere, by which this test sees {option}"
    assert (seen in found) != is_absent, f"{version} no longer heeds the option {option}, see zcube/network/kernels.py"


@pytest.mark.parametrize("decorator", [inner, inlined])
def test_a_kernel_for_kernels_is_compiled_once_for_all_widths_and_constants(decorator):
    @decorator
    def twice(number):
        return 2 * number

    @decorator
    def sum_of_twice(first, second):
        return twice(first) + twice(second) + twice(3)

    @kernel
    def outer(narrow, wide):
        return sum_of_twice(narrow[0], wide[0]) + sum_of_twice(1, 2)

    assert outer(np.array([5], dtype=np.int32), np.array([1 << 40])) == 10 + (2 << 40) + 6 + 2 + 4 + 6
    version = f"Numba {numba.__version__}, see zcube/network/linking.py"
    assert [len(function.signatures) for function in (twice, sum_of_twice)] == [1, 1], version


def test_no_machine_code_is_made_of_a_kernel_for_kernels():
    @inner
    def one():
        return 1

    @kernel
    def outer():
        return one()

    assert outer() == 1
    (made,) = one.overloads.values()
    assert made.library._final_module.name and not hasattr(made.library, "_compiled_object"), "no code is cached of it"
    assert made.library.get_pointer_to_function(made.fndesc.llvm_func_name) == 0


def test_a_kernel_for_kernels_keeps_numbers_without_sign_and_real_ones_as_they_are():
    @inner
    def same(number):
        return number

    @kernel
    def outer(unsigned, real):
        return same(unsigned[0]), same(real[0])

    assert outer(np.array([2**63 + 2], dtype=np.uint64), np.array([1.5])) == (2**63 + 2, 1.5)


def test_a_kernel_is_called_by_its_address():
    @kernel
    def enter(record, number):
        record.entered = number

    row = np.zeros(1, [("entered", "i8")])
    try:
        place = address(enter, (numba.from_dtype(row.dtype), numba.int64))
    except (AttributeError, TypeError) as error:
        pytest.fail(f"Numba {numba.__version__} no longer gives a kernel's address, see zcube/network/kernels.py: {error}")
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(place)(row.ctypes.data, 7)
    assert row["entered"] == 7


@inner
def mingled(first, second, more):
    total = 0
    for step in range(first):
        for other in range(step):
            if (step ^ other) % second == 1:
                total += other // second
            elif (step + other) % second == 2:
                total -= step // second
            else:
                total ^= step * other % second
            total += other * total % second
        if total % second == 3:
            total += step // second
    return total + more


def test_parts_of_a_whole_kernel_are_neither_seen_by_others_nor_taken_for_theirs():
    @numba.njit(pipeline_class=WholeCompiler)
    def whole(first, second):
        return mingled(first, second, 3) + mingled(second, first, 3) + mingled(first + second, first, 3)

    @numba.njit
    def plain(first, second, more):
        return mingled(first, second, more) + mingled(second, first, more) + mingled(first + second, first, more)

    def written(first, second, more):
        ends = ((first, second), (second, first), (first + second, first))
        return sum(mingled.py_func(*each, more) for each in ends)

    assert whole(5, 3) == written(5, 3, 3)
    (made,) = whole.overloads.values()
    kept = [function for function in made.library._final_module.functions if "mingled" in function.name]
    assert [function.linkage for function in kept] == [Linkage.internal], f"Numba {numba.__version__}, see linking.py"
    # Of the first one LLVM knows that it always adds 3.
    assert plain(9, 7, 10) == written(9, 7, 10), f"Numba {numba.__version__} mixes functions of one name, see linking.py"
