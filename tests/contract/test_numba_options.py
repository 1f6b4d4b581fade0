"""The options of Numba that ``zcube.network.kernels`` rests on and that Numba does not document still do what is expected."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest
from llvmlite.binding import Linkage

from zcube.network.kernels import INLINED, UNCOUNTED, UNWRAPPED, address, inlined, inner, kernel
from zcube.network.linking import WholeCompiler
from zcube.network.packet.records import only_row
from zcube.network.packet.row_types import Row

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


NUMBERS = [("i1", -7), ("i2", -300), ("i4", -70_000), ("i8", -(2**62)), ("u1", 200), ("u4", 2**32 - 1), ("u8", 2**64 - 1)]
OTHERS = [("f8", 1.5), ("b1", True)]
MIXED = np.dtype(
    [*((form, form) for form, _ in NUMBERS + OTHERS), ("within", np.dtype([("one", "i4"), ("two", "f8")], align=True))],
    align=True,
)
mixed_of, known_of = only_row(Row("mixed", MIXED)), only_row(Row("known", MIXED, {"i4": 3, "f8": 0.0}))


@kernel
def copy(table, other):
    one, two = mixed_of(table), mixed_of(other)
    two.i1, two.i2, two.i4, two.i8, two.u1, two.u4, two.u8 = one.i1, one.i2, one.i4, one.i8, one.u1, one.u4, one.u8
    two.f8, two.b1 = one.f8, one.b1
    within = two.within
    within.one, within.two = one.within.one + 1, one.within.two
    return one.i1 + one.i2 + one.i4 + one.u1 + one.u4


def test_rows_are_read_and_written_as_numpy_does():
    table, other = np.zeros(1, MIXED), np.zeros(1, MIXED)
    for form, value in NUMBERS + OTHERS:
        table[form] = value
    table["within"] = (4, 2.5)
    assert copy(table, other) == sum(value for form, value in NUMBERS if form not in ("i8", "u8"))
    table["within"]["one"] += 1
    assert table.tobytes() == other.tobytes()


@inner
def not_of_any_row(row):
    return row.no_such_field


@inner
def asked(row):
    if row.i4 != 3 and row.i8 > 0:
        return not_of_any_row(row)
    if row.f8 > 0.0:
        return not_of_any_row(row)
    return row.i4 + row.i8


@kernel
def of_known(table):
    return asked(known_of(table))


@kernel
def of_any(table):
    return asked(mixed_of(table))


def test_what_is_never_come_to_where_fields_are_known_is_not_compiled():
    table = np.zeros(1, MIXED)
    table["i8"] = 5
    assert of_known(table) == 8, f"Numba {numba.__version__}, see zcube/network/linking.py"
    with pytest.raises(numba.TypingError, match="no_such_field"):
        of_any(table)
