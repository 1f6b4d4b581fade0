"""What ``zcube.network.kernels`` and ``zcube.kernel_parts`` rest on and Numba does not document still does what is expected."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest

from zcube.kernel_parts import part
from zcube.network.kernels import UNCOUNTED, UNWRAPPED, address, inner, kernel

# What an option, by its name, keeps out of the code of a function that takes arrays out of a tuple.
ABSENT = {"_nrt": "NRT_decref", "no_cpython_wrapper": "cpython", "no_cfunc_wrapper": "@cfunc."}


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
    assert {**UNCOUNTED, **UNWRAPPED}.keys() == ABSENT.keys()


@pytest.mark.parametrize("option", ABSENT)
def test_a_private_option_is_known_and_heeded(option):
    version = f"Numba {numba.__version__}"
    value = {**UNCOUNTED, **UNWRAPPED}[option]
    try:
        found = code(**{option: value})
    except KeyError as error:
        pytest.fail(f"{version} no longer knows the option {option}, see zcube/network/kernels.py: {error}")
    assert ABSENT[option] in code(), f"{version} no longer writes {ABSENT[option]}, by which this test sees {option}"
    assert ABSENT[option] not in found, f"{version} no longer heeds the option {option}, see zcube/network/kernels.py"


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


def least_of(numbers, first, last):
    least = numbers[first]
    for place in range(first, last):
        least = min(least, numbers[place])
    return least


def test_a_part_is_compiled_once_for_all_integers_and_without_machine_code():
    called = inner(least_of)

    @inner
    def least_of_all(numbers):
        return called(numbers, 0, len(numbers))

    @kernel
    def call(numbers, short, byte):
        return least_of_all(numbers) + called(numbers, short, np.int64(3)) + called(numbers, byte, short + 1) + mixed(numbers)

    @inner
    def mixed(numbers):
        return called(numbers, np.uint32(1), np.int16(2))

    assert call(np.array([5, 2, 7]), np.int32(0), np.uint8(0)) == 2 + 2 + 5 + 2
    version = f"Numba {numba.__version__}, see zcube/kernel_parts.py"
    assert [signature[1:] for signature in called.signatures] == [(numba.int64, numba.int64)], version
    ((_, of_call),) = call.overloads.items()
    for name in (called, least_of_all, mixed):
        ((_, overload),) = name.overloads.items()
        symbol = overload.fndesc.llvm_func_name
        assert overload.library.get_function(symbol), version
        assert overload.library.get_pointer_to_function(symbol) == 0, f"machine code was made of a part: {version}"
        left = {function.name for function in of_call.library.get_defined_functions()}
        assert symbol not in left, f"a part was not inlined: {version}"


def test_a_part_keeps_the_types_that_are_no_narrow_integers():
    @part
    def whole(key, rate, is_up):
        return key >> np.uint64(63), rate / 2, not is_up

    @numba.njit
    def call(key):
        return whole(key, np.float32(3), True)

    assert call(np.uint64(2**64 - 1)) == (1, 1.5, False)
    assert list(whole.overloads) == [(numba.uint64, numba.float32, numba.boolean)]


def test_python_cannot_call_a_part():
    called = inner(least_of)
    with pytest.raises(TypeError, match="least_of is called by kernels only"):
        called(np.zeros(3), 0, 3)
    kernel(lambda numbers: called(numbers, 0, 3))(np.zeros(3))
    with pytest.raises(TypeError, match="least_of is called by kernels only"):
        called(np.zeros(3), 0, 3)
