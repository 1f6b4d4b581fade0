"""Kernels run as they are written, by Python itself: for work so little that compiling them would take longer.

There is one source. What Numba compiles, Python runs with other things behind the names it uses: kernels that it calls are
their own functions, rows of tables are objects, and arrays are memory views, so that numbers are Python's, which are exact
where a kernel's have 64 bits, and otherwise the same doubles. Numbers of ``uint64`` stay NumPy's, which wrap round as a
kernel's do. What a kernel leaves in its arrays and returns is the same to the bit.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import CellType, FunctionType
from typing import Any, cast

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError


def _nowhere(module: str) -> bool:
    return False


def everywhere(module: str) -> bool:
    """Choose the kernels of any module."""
    return True


_WHERE: ContextVar[Callable[[str], bool]] = ContextVar("modules whose kernels are to run as written", default=_nowhere)

#: The memory of the kernel under way.
_IN_HAND: ContextVar[Memory] = ContextVar("memory")

#: What an intrinsic does, as a function of Python, is kept under this name of its.
TWIN = "_as_written"

# What the module struct calls NumPy's types.
_CODES = dict(zip(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"], "?bhiqBHIQfd", strict=True))


@contextmanager
def kernels_as_written(where: Callable[[str], bool] = everywhere) -> Iterator[None]:
    """Let kernels of modules chosen by name run as written inside, unless they have been compiled before."""
    before = _WHERE.set(where)
    try:
        yield
    finally:
        _WHERE.reset(before)


@contextmanager
def kernels_compiled() -> Iterator[None]:
    """Let no kernel run as written inside."""
    with kernels_as_written(_nowhere):
        yield


def runs_as_written(kernel: Any) -> bool:
    """Return whether a call of a kernel that is not yet compiled would run it as written."""
    return _WHERE.get()(kernel.py_func.__module__) and not kernel.overloads


def offer_as_written(kernel: Any) -> None:
    """Have a kernel's first call ask whether it is to run as written."""
    if not hasattr(kernel, "py_func"):
        expected = "unset: kernels take memory that functions without Numba cannot"
        raise InputError(Fault("NUMBA_DISABLE_JIT", "set", expected))
    compile_for = kernel._compile_for_args

    def found(*arguments: Any, **named: Any) -> Any:
        return as_written(kernel) if runs_as_written(kernel) else compile_for(*arguments, **named)

    # Not documented: Numba calls what this gives it, and asks only where no compiled version fits.
    kernel._compile_for_args = found


@cache
def as_written(kernel: Any) -> Callable[..., Any]:
    """Return a kernel that Python calls as a function that takes the same arrays and is not compiled."""
    function = plain(kernel)

    def run(*arguments: Any) -> Any:
        memory = Memory()
        before = _IN_HAND.set(memory)
        try:
            with np.errstate(over="ignore"):
                return function(*(memory.view(argument) for argument in arguments))
        finally:
            _IN_HAND.reset(before)
            memory.store()

    return run


def plain(value: Any) -> Any:
    """Return what stands for a value in a kernel that runs as written: a function for a kernel, else mostly the value."""
    if hasattr(value, "py_func"):
        return _plain_function(value.py_func)
    return _view(value) if isinstance(value, np.ndarray) else getattr(value, TWIN, value)


def _view(array: np.ndarray) -> memoryview:
    return memoryview(cast(Any, array))  # NumPy's stubs do not know that arrays are buffers.


@cache
def _plain_function(function: FunctionType) -> FunctionType:
    names = _PLAIN_NAMES.get(id(function.__globals__))
    if names is None:
        names = _PLAIN_NAMES[id(function.__globals__)] = dict(function.__globals__)
        names.update({name: plain(value) for name, value in function.__globals__.items()})
    cells = tuple(CellType(plain(cell.cell_contents)) for cell in function.__closure__ or ())
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)


#: What names stand for in the functions of a module, by the number of the module's own names, which last as long.
_PLAIN_NAMES: dict[int, dict[str, Any]] = {}


class Row:
    """A record: its fields are attributes. ``memory`` is where it stands; ``tables`` is for who finds others by it."""

    __slots__ = ("__dict__", "memory", "tables")

    memory: Memory
    tables: dict[str, Rows]


class Layout:
    """How the fields of a record stand in memory.

    Parameters
    ----------
    dtype : dtype
        Of numbers and of records of these.
    """

    def __init__(self, dtype: np.dtype[Any]):
        self.size, self.form = dtype.itemsize, ""
        self._within: dict[str, Layout | None] = {}
        self._unsigned: list[str] = []
        end = 0
        assert dtype.fields is not None and dtype.names is not None
        for name in dtype.names:
            field, offset = dtype.fields[name][:2]
            within = None if field.fields is None else layout_of(field)
            self._within[name] = within
            self.form += f"{offset - end}x{_CODES[field.str[1:]] if within is None else within.form}"
            end = offset + field.itemsize
            if field == np.uint64:
                self._unsigned.append(name)
        self.form += f"{self.size - end}x"
        self._struct = struct.Struct(f"={self.form}")
        self._is_flat = not any(self._within.values())

    def row(self, memory: Memory, address: int) -> Row:
        """Return the record at an address."""
        return self._row(memory, iter(self._struct.unpack(ctypes.string_at(address, self.size))))

    def _row(self, memory: Memory, values: Iterator[Any]) -> Row:
        row = Row()
        row.memory, row.tables = memory, {}
        fields = row.__dict__
        if self._is_flat:
            fields.update(zip(self._within, values, strict=False))
        else:
            for name, within in self._within.items():
                fields[name] = next(values) if within is None else within._row(memory, values)
        for name in self._unsigned:
            fields[name] = np.uint64(fields[name])
        return row

    def put(self, row: Row, address: int) -> None:
        """Write a record to an address."""
        ctypes.memmove(address, self._struct.pack(*self._values(row)), self.size)

    def _values(self, row: Row) -> list[Any]:
        fields = row.__dict__
        if self._is_flat:
            return list(fields.values())
        return [
            value
            for name, within in self._within.items()
            for value in ([fields[name]] if within is None else within._values(fields[name]))
        ]


@cache
def layout_of(dtype: np.dtype[Any]) -> Layout:
    """Return the layout of a record type."""
    return Layout(dtype)


class Rows(dict[int, Row]):
    """The records of a table that have been asked for, by number; others are found when they are."""

    def __init__(self, memory: Memory, address: int, dtype: np.dtype[Any], length: int):
        super().__init__()
        self._memory, self._address, self._layout, self._length = memory, address, layout_of(dtype), length

    def __missing__(self, number: int) -> Row:
        row = self._layout.row(self._memory, self._address + int(number) * self._layout.size)
        dict.__setitem__(self, int(number), row)
        return row

    def __setitem__(self, number: int, row: Row) -> None:
        """Copy a record into another."""
        self[number].__dict__.update(row.__dict__)

    def __len__(self) -> int:
        return self._length

    def store(self) -> None:
        """Write the records back."""
        for number, row in self.items():
            self._layout.put(row, self._address + number * self._layout.size)


class Memory:
    """The arrays of a kernel under way, as it sees them."""

    def __init__(self) -> None:
        self._tables: dict[int, Rows] = {}

    def view(self, value: Any) -> Any:
        """Return an argument as a kernel that runs as written takes it."""
        if not isinstance(value, np.ndarray):
            return value.item() if isinstance(value, np.generic) else value
        if value.dtype.fields is None:
            return _view(value)
        return self.rows(value.__array_interface__["data"][0], value.dtype, len(value))

    def rows(self, address: int, dtype: np.dtype[Any], length: int = 0) -> Rows:
        """Return the table at an address; its length matters to who asks for it."""
        if address not in self._tables:
            self._tables[address] = Rows(self, address, dtype, length)
        return self._tables[address]

    def array(self, address: int, dtype: np.dtype[Any], length: int) -> Any:
        """Return the array at an address."""
        if dtype.fields is not None:
            return self.rows(address, dtype, length)
        held: Any = (ctypes.c_ubyte * (length * dtype.itemsize)).from_address(address)
        return _view(np.ndarray(length, dtype, held))

    def store(self) -> None:
        """Write all records back."""
        for table in self._tables.values():
            table.store()


def row_at(net: Row, table: str, dtype: np.dtype[Any], number: int) -> Row:
    """Return the row of a number in a table whose address stands in a record under ``<table>_at``."""
    try:
        return net.tables[table][number]
    except KeyError:
        net.tables[table] = net.memory.rows(getattr(net, f"{table}_at"), dtype)
        return net.tables[table][number]


def arrays_of_frame(dtypes: Sequence[np.dtype[Any]], frame: IntArray) -> Iterator[Any]:
    """Return the arrays of a frame, see :mod:`zcube.network.frames`."""
    memory = _IN_HAND.get()
    return (memory.array(frame[2 * at], dtype, frame[2 * at + 1]) for at, dtype in enumerate(dtypes))
