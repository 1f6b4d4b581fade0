"""What operators on numbers of one type give, told to Numba before it asks.

For every operator in a kernel Numba asks up to a dozen of its rules in turn, those for whole arrays, strings and dates too,
and each that has no answer writes a message; ``max``, ``min`` and ``int`` it compiles as functions of Python, for every pair of
types. What is said here of numbers of 64 bits is what it finds in the end, see ``tests/contract/test_number_operators.py``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

from numba import types
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin

_WHOLE, _NATURAL, _REAL = types.int64, types.uint64, types.float64

_ARITHMETIC = ("add", "sub", "mul", "floordiv", "mod", "iadd", "isub", "imul", "ifloordiv", "imod")
_BITWISE = ("and_", "or_", "xor", "iand", "ior", "ixor")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")

#: Signatures by function and types of what it is given.
SIGNATURES: dict[Callable[..., Any], dict[tuple[Any, ...], Any]] = {}


def _tell(function: Callable[..., Any], result: Any, *given: Any) -> None:
    SIGNATURES.setdefault(function, {})[given] = signature(result, *given)


for _name in (*_ARITHMETIC, *_BITWISE, *_COMPARISONS):
    for _kind in (_WHOLE, _NATURAL, _REAL) if _name not in _BITWISE else (_WHOLE, _NATURAL):
        _tell(getattr(operator, _name), types.boolean if _name in _COMPARISONS else _kind, _kind, _kind)
for _function in (max, min):
    for _kind in (_WHOLE, _REAL):
        for _count in (2, 3):
            _tell(_function, _kind, *(_kind,) * _count)
for _kind in (_WHOLE, _NATURAL, _REAL):
    _tell(int, _WHOLE if _kind is _REAL else _kind, _kind)


def _rule(function: Callable[..., Any], signatures: dict[tuple[Any, ...], Any]) -> Any:
    class Rule(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            return None if kws else signatures.get(args)

    # Those of a target are asked before those of any.
    Rule.metadata = {"target": "cpu"}
    return types.Function(Rule)


for _function, _signatures in SIGNATURES.items():
    infer_global(_function, _rule(_function, _signatures))


def _extreme(function: Callable[..., Any], beyond: str) -> None:
    """Write ``max`` or ``min`` as Python does: the first of those that no other is beyond."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        compare = builder.fcmp_ordered if signature.return_type is _REAL else builder.icmp_signed
        return reduce(lambda found, other: builder.select(compare(beyond, other, found), other, found), arguments)

    for given in SIGNATURES[function]:
        lower_builtin(function, *given)(generate)


def _whole(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.cast(builder, arguments[0], signature.args[0], signature.return_type)


_extreme(max, ">")
_extreme(min, "<")
for _given in SIGNATURES[int]:
    lower_builtin(int, *_given)(_whole)
