"""Named tuples of arrays as kernels take them: by one array of where they lie and how long they are.

Handing a tuple of thirty arrays to a compiled function takes as long as the transfers that it is to post. So whoever keeps such
a tuple makes a *frame* of it once, again whenever an array of it is another one, and keeps the arrays alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.typing import signature as signature_of
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from zcube.arrays import IntArray

_WORD = ir.IntType(64)


def frame_of(arrays: Iterable[np.ndarray]) -> IntArray:
    """Return address and length of each of some arrays, which are to be contiguous [2 * arrays]."""
    words = [word for array in arrays for word in (array.__array_interface__["data"][0], len(array))]
    return np.array(words, dtype=np.int64)


def arrays_at(kind: type[Any], dtypes: Sequence[np.dtype[Any]]) -> Callable[[IntArray], Any]:
    """Return a function for kernels that gives the named tuple of arrays which a frame was made of.

    Parameters
    ----------
    kind : type
        The named tuple; all its members are arrays of one dimension.
    dtypes : sequence of dtype
        Of its members.
    """
    members = [types.Array(from_dtype(dtype), 1, "C") for dtype in dtypes]
    whole = types.NamedTuple(members, kind)

    @intrinsic
    def named_tuple(typing: Any, frame: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = make_array(signature.args[0])(context, builder, arguments[0]).data

            def word(at: int) -> Any:
                return builder.load(builder.gep(words, [ir.Constant(_WORD, at)]))

            values = []
            for number, member in enumerate(members):
                array = make_array(member)(context, builder)
                width = ir.Constant(_WORD, dtypes[number].itemsize)
                place, size = builder.inttoptr(word(2 * number), array.data.type), word(2 * number + 1)
                populate_array(array, data=place, shape=[size], strides=[width], itemsize=width, meminfo=None)
                values.append(array._getvalue())
            return context.make_tuple(builder, whole, values)

        return signature_of(whole, frame), generate

    return cast(Callable[[IntArray], Any], named_tuple)  # Numba's stubs do not know how intrinsics are called.
