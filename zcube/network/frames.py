"""Named tuples of arrays as kernels take them: by one array of where they lie and how long they are.

Handing a tuple of thirty arrays to a compiled function takes as long as the transfers that it is to post. So whoever keeps such
a tuple makes a *frame* of it once, again whenever an array of it is another one, and keeps the arrays alive. Kernels pass on
where the frame lies, and take out of it the array that they name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.typing import signature as signature_of
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_builtin, lower_getattr_generic, models, register_model
from numba.np.arrayobj import getitem_arraynd_intp, make_array, populate_array, setitem_array

from zcube.arrays import IntArray
from zcube.as_written import TWIN, arrays_of_frame

_WORD = ir.IntType(64)


class Member(types.Array):
    """An array of a frame, whose places are counted from its beginning only: numbers below 0 mean none of it.

    Numba else looks at every place whether it is to be counted from the end.
    """


register_model(Member)(models.ArrayModel)


def _unsigned(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
    """Return the signature and arguments of an access to an array with the place in it as an unsigned number."""
    (array, place, *value), (found, at, *given) = signature.args, arguments
    at = context.cast(builder, at, place, types.intp)
    return signature_of(signature.return_type, array, types.uintp, *value), (found, at, *given)


@lower_builtin(operator.getitem, Member, types.Integer)
def _get_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return getitem_arraynd_intp(context, builder, *_unsigned(context, builder, signature, arguments))


@lower_builtin(operator.setitem, Member, types.Integer, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return setitem_array(context, builder, *_unsigned(context, builder, signature, arguments))


class Frame(types.Type):
    """What a kernel holds in place of a named tuple of arrays of one dimension.

    Parameters
    ----------
    name : str
        Of the named tuple.
    dtypes : mapping
        Of its members, in their order.
    """

    def __init__(self, name: str, dtypes: Mapping[str, np.dtype[Any]]):
        self.members = {member: Member(from_dtype(dtype), 1, "C") for member, dtype in dtypes.items()}
        self.places = {member: place for place, member in enumerate(dtypes)}
        self.widths = {member: dtype.itemsize for member, dtype in dtypes.items()}
        super().__init__(f"Frame({name}, {dict(dtypes)})")


@register_model(Frame)
class _FrameModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Frame):
        super().__init__(manager, kind, _WORD.as_pointer())


@infer_getattr
class _Members(AttributeTemplate):
    key = Frame

    def generic_resolve(self, value: Any, attr: str) -> Any:  # type: ignore[override]
        return value.members.get(attr)


@lower_getattr_generic(Frame)
def _member(context: Any, builder: Any, kind: Frame, words: Any, member: str) -> Any:
    def word(at: int) -> Any:
        loaded = builder.load(builder.gep(words, [ir.Constant(_WORD, at)]))
        # A frame is never written while kernels run, so that this is loaded once and not again after every write.
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded

    array = make_array(kind.members[member])(context, builder)
    width, place = ir.Constant(_WORD, kind.widths[member]), 2 * kind.places[member]
    data, size = builder.inttoptr(word(place), array.data.type), word(place + 1)
    populate_array(array, data=data, shape=[size], strides=[width], itemsize=width, meminfo=None)
    return array._getvalue()


def frame_of(arrays: Iterable[np.ndarray]) -> IntArray:
    """Return address and length of each of some arrays, which are to be contiguous [2 * arrays]."""
    # Not by the array's interface, which would list the members of records.
    words = [word for array in arrays for word in (array.ctypes.data, len(array))]
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
    frame_type = Frame(kind.__qualname__, dict(zip(kind._fields, dtypes, strict=True)))

    @intrinsic
    def named_tuple(typing: Any, frame: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return make_array(signature.args[0])(context, builder, arguments[0]).data

        return signature_of(frame_type, frame), generate

    setattr(named_tuple, TWIN, lambda frame: kind(*arrays_of_frame(dtypes, frame)))
    return cast(Callable[[IntArray], Any], named_tuple)  # Numba's stubs do not know how intrinsics are called.
