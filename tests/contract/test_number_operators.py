"""What is said of operators on numbers is what Numba finds by its own rules, and gives the values that Python gives."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba import types
from numba.core.registry import cpu_target

from zcube.number_operators import SIGNATURES

CASES = [(function, given) for function, signatures in SIGNATURES.items() for given in signatures]
REALS = (0.0, -0.0, 1.5, -2.5, float("inf"), float("nan"))


@pytest.mark.parametrize(("function", "given"), CASES, ids=lambda one: getattr(one, "__name__", str(one)))
def test_numbas_own_rules_say_the_same(function, given):
    context = cpu_target.typing_context
    context.refresh()
    rules = context.resolve_value_type(function).templates
    own = [rule for rule in rules if not rule.__module__.startswith("zcube.")]
    assert len(own) == len(rules) - 1, f"Numba {numba.__version__} does not ask what is said here"
    found = types.Function(own).get_call_type(context, given, {})
    assert found.return_type == SIGNATURES[function][given].return_type
    # Of several numbers Numba's functions of Python take a tuple.
    assert found.args == given or all(isinstance(one, types.BaseTuple) for one in found.args)


@numba.njit
def extremes(one, other, third):
    return max(one, other), min(one, other), max(one, other, third), min(one, other, third)


@pytest.mark.parametrize("numbers", [(-3, 2**62, -(2**63)), REALS])
def test_the_largest_and_the_least_are_pythons(numbers):
    for one in numbers:
        for other in numbers:
            for third in numbers:
                expected = max(one, other), min(one, other), max(one, other, third), min(one, other, third)
                assert np.array_equal(np.array(extremes(one, other, third)), np.array(expected), equal_nan=True)
                assert np.array_equal(np.signbit(extremes(one, other, third)), np.signbit(expected))


@numba.njit
def whole(number):
    return int(number)


def test_whole_numbers_are_pythons():
    assert [whole(number) for number in (-7, 2.9, -2.9, np.uint64(2**63 + 1))] == [-7, 2, -2, 2**63 + 1]
