"""Rows of tables as Numba's types: what a kernel holds of a record is where it lies.

Numba's own records carry all their fields in their name, which goes into messages that are seldom shown, and give numbers of
each width a type of their own, for each of which what they are handed to is compiled again. A row has a short name, and its
whole numbers are read as ``int64``, which has room for all but ``uint64``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, lower_setattr_generic, models, register_model

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)


class Row(types.Type):
    """A record in memory.

    Parameters
    ----------
    table : str
        Of what it is a row of.
    dtype : dtype
        Of numbers and of records of these.
    known : mapping, optional
        Fields that have the same value in every such row.
    """

    def __init__(self, table: str, dtype: np.dtype[Any], known: Mapping[str, int | float] = MappingProxyType({})):
        self.table, self.known = table, known
        self.places: dict[str, int] = {}
        self.stored: dict[str, Any] = {}
        assert dtype.fields is not None
        for field, (kind, offset, *_) in dtype.fields.items():
            self.places[field] = offset
            self.stored[field] = from_dtype(kind) if kind.fields is None else Row(f"{table}.{field}", kind)
        # A type's name is part of that of every function which takes it.
        form = repr((dtype.descr, sorted(known.items())))
        super().__init__(f"Row({table}, {hashlib.sha256(form.encode()).hexdigest()[:16]})")


@register_model(Row)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Row):
        super().__init__(manager, kind, _BYTE.as_pointer())


def _as_held(stored: Any) -> Any:
    """Return the type that a field has once it is read."""
    narrow = isinstance(stored, types.Integer) and stored.bitwidth < 64  # type: ignore[attr-defined]
    return types.int64 if narrow else stored


@infer_getattr
class _Fields(AttributeTemplate):
    key = Row

    def generic_resolve(self, value: Any, attr: str) -> Any:  # type: ignore[override]
        stored = value.stored.get(attr)
        return None if stored is None else _as_held(stored)


def _place(context: Any, builder: Any, kind: Row, row: Any, field: str) -> Any:
    """Return where a field lies."""
    place = builder.gep(row, [ir.Constant(_WORD, kind.places[field])], inbounds=True)
    return builder.bitcast(place, context.get_data_type(kind.stored[field]).as_pointer())


def _of_field(module: Any, kind: Row, field: str) -> Any:
    """Return what tells LLVM that a write to another field, or to another table, leaves this one as it is."""
    root = module.add_metadata(["rows of tables"])
    own = module.add_metadata([f"{kind.table}.{field}", root, ir.Constant(_WORD, 0)])
    return module.add_metadata([own, own, ir.Constant(_WORD, 0)])


@lower_getattr_generic(Row)
def _read(context: Any, builder: Any, kind: Row, row: Any, field: str) -> Any:
    stored = kind.stored[field]
    if isinstance(stored, Row):
        return builder.gep(row, [ir.Constant(_WORD, kind.places[field])], inbounds=True)
    value = builder.load(_place(context, builder, kind, row, field))
    value.set_metadata("tbaa", _of_field(builder.module, kind, field))
    return context.cast(builder, value, stored, _as_held(stored))


@lower_setattr_generic(Row)
def _write(context: Any, builder: Any, signature: Any, arguments: Any, field: str) -> None:
    kind, given = signature.args
    stored = kind.stored[field]
    value = context.cast(builder, arguments[1], given, stored)
    written = builder.store(value, _place(context, builder, kind, arguments[0], field))
    written.set_metadata("tbaa", _of_field(builder.module, kind, field))
