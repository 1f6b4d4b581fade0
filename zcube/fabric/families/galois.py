"""Arithmetic of the finite field GF(q), q = p^k, in tables.

Elements are numbered 0 .. q - 1 by their coefficients over GF(p), the constant first, as digits to base p; so 0 and 1 are
themselves. A library for this (``galois``) compiles arithmetic for large arrays and large fields; the graphs here need sums and
products in one field of a few hundred elements, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from zcube.arrays import IntArray


@dataclass(frozen=True, eq=False)
class GaloisField:
    """GF(q).

    Attributes
    ----------
    order : int
        q.
    powers : int array [q - 1]
        Powers of a primitive element, from the 0th.
    digits : int array [q, k]
        Coefficients of each element.
    characteristic : int
        p.
    """

    order: int
    powers: IntArray
    digits: IntArray
    characteristic: int

    @staticmethod
    def of(order: int) -> GaloisField:
        """Return the field with ``order`` elements.

        Raises
        ------
        ValueError
            If the order is no prime power.
        """
        found = prime_power(order)
        if found is None:
            raise ValueError(f"{order} is no prime power")
        p, k = found
        weight = p ** np.arange(k)
        digits = np.arange(order)[:, None] // weight % p
        # The first monic polynomial x^k = c_0 + c_1 x + .. of which x is a primitive root: its powers meet every element but 0.
        for coefficients in product(range(p), repeat=k):
            powers = _powers(np.array(coefficients), p, weight)
            if len(powers) == order - 1:
                return GaloisField(order, powers, digits, p)
        raise AssertionError(f"GF({order}) has a primitive element")

    def subtract(self, a: IntArray, b: IntArray) -> IntArray:
        """Return a - b."""
        return self._number(self.digits[a] - self.digits[b])

    def add(self, a: IntArray, b: IntArray) -> IntArray:
        """Return a + b."""
        return self._number(self.digits[a] + self.digits[b])

    def multiply(self, a: IntArray, b: IntArray) -> IntArray:
        """Return a b."""
        logarithm = np.zeros(self.order, dtype=np.int64)
        logarithm[self.powers] = np.arange(self.order - 1)
        return np.where((a == 0) | (b == 0), 0, self.powers[(logarithm[a] + logarithm[b]) % (self.order - 1)])

    def _number(self, digits: IntArray) -> IntArray:
        p = self.characteristic
        return np.asarray(digits % p @ p ** np.arange(self.digits.shape[1]))


def _powers(coefficients: IntArray, p: int, weight: IntArray) -> IntArray:
    """Return 1, x, x^2, .. modulo ``x^k = c_0 + c_1 x + ..``, up to the first that is 0 or comes again."""
    element = np.zeros(len(coefficients), dtype=np.int64)
    element[0] = 1
    found: dict[int, None] = {}
    while (number := int(element @ weight)) and number not in found:
        found[number] = None
        element = (np.concatenate([[0], element[:-1]]) + element[-1] * coefficients) % p
    return np.array(list(found))


def prime_power(order: int) -> tuple[int, int] | None:
    """Return p and k of an order p^k, None if it is no prime power."""
    if order < 2:
        return None
    p = next((divisor for divisor in range(2, int(order**0.5) + 1) if order % divisor == 0), order)
    k, rest = 0, order
    while rest % p == 0:
        k, rest = k + 1, rest // p
    return (p, k) if rest == 1 else None
