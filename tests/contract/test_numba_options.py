"""The options of Numba that ``zcube.network.kernels`` rests on and that Numba does not document still do what is expected."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest

from zcube.network.kernels import INLINED, UNCOUNTED, UNWRAPPED, address, kernel

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
