"""Named tuples of arrays as kernels take them: by one array of where they lie and how long they are.

Handing a tuple of thirty arrays to a compiled function takes as long as the transfers that it is to post. So whoever keeps such
a tuple makes a *frame* of it once, again whenever an array of it is another one, and keeps the arrays alive. Kernels pass on
where the frame lies, and take out of it the array that they name.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.typing import signature as signature_of
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global
from numba.extending import infer_getattr, intrinsic, lower_builtin, lower_getattr_generic, models, register_model
from numba.np.arrayobj import make_array

from zcube.arrays import IntArray
from zcube.as_written import TWIN, arrays_of_frame

_WORD = ir.IntType(64)


class Member(types.Type):
    """An array of a frame: its places are counted from its beginning, and it has a length; kernels use no more of it.

    Numba's own arrays have five further parts, which it writes out wherever one is named, and looks at every place whether it
    is to be counted from the end.
    """

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype = from_dtype(dtype)
        super().__init__(f"Member({self.dtype})")


@register_model(Member)
class _MemberModel(models.StructModel):
    def __init__(self, manager: Any, kind: Member):
        super().__init__(manager, kind, [("data", types.CPointer(kind.dtype)), ("size", types.intp)])


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], Member) and isinstance(args[1], types.Integer):
            return signature_of(args[0].dtype, args[0], types.intp)
        return None


# So it is asked before a dozen of others, which are of any target.
_GetItem.metadata = {"target": "cpu"}


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], Member) and isinstance(args[1], types.Integer):
            return signature_of(types.none, args[0], types.intp, args[0].dtype)
        return None


@infer_global(len)
class _Length(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature_of(types.intp, args[0]) if isinstance(args[0], Member) else None


def _place(builder: Any, arguments: Any) -> Any:
    return builder.gep(builder.extract_value(arguments[0], 0), [arguments[1]], inbounds=True)


@lower_builtin(operator.getitem, Member, types.intp)
def _get_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.unpack_value(builder, signature.return_type, _place(builder, arguments))


@lower_builtin(operator.setitem, Member, types.intp, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    context.pack_value(builder, signature.args[2], arguments[2], _place(builder, arguments))
    return context.get_dummy_value()


@lower_builtin(len, Member)
def _length(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.extract_value(arguments[0], 1)


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
        self.members = {member: Member(dtype) for member, dtype in dtypes.items()}
        self.places = {member: place for place, member in enumerate(dtypes)}
        # A type's name is part of that of every function which takes it.
        super().__init__(f"Frame({name}, {hashlib.sha256(repr(dict(dtypes)).encode()).hexdigest()[:16]})")


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

    array, place = context.get_value_type(kind.members[member]), 2 * kind.places[member]
    data = builder.inttoptr(word(place), array.elements[0])
    return builder.insert_value(builder.insert_value(ir.Constant(array, ir.Undefined), data, 0), word(place + 1), 1)


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
