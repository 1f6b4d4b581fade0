"""What came of a run on its way from the process that did it to the one that started it.

Through a pipe, arrays would be in memory twice when they are read: as bytes and as arrays. On Linux they are written into a
file in memory that has no name; that file is handed on, and each array is read into its place. Nobody has to remove the file:
it is gone when it has been read, and with the processes however they end. An object that a run gives back of its own task is
not sent but named, for both processes have it; an array that repeats one number is sent as that number.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeAlias

import numpy as np

from zcube.errors import RunError
from zcube.memory import give_back_memory

#: Bytes of arrays from which on they are handed on in a file.
LEAST_BYTES = 1 << 20

#: Files that are open at a time until their answers are taken; what further ones hold is kept without them, for a process may
#: open a thousand files or so.
MOST_OPEN = 64

#: The first protocol in which bytes of arrays can be sent apart.
_PROTOCOL = 5

#: Whose answer a file is.
_RUN = struct.Struct("=q")

#: The bytes of an array, as they are in memory.
Buffers: TypeAlias = list[Any]

#: The task whose answer is being read.
_task: ContextVar[Any] = ContextVar("_task")

#: What is sent as fast as it is named.
_SCALARS = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is sent.

    Attributes
    ----------
    head : bytes
        All but what stands in the file, pickled.
    sizes : tuple of int
        Bytes of each array in the file.
    """

    head: bytes
    sizes: tuple[int, ...] = ()


class AnswerFiles:
    """Files on their way from processes to the one that started them, which makes this."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By the run; None for one that this process was not let open.
        self._came: dict[int, io.BufferedIOBase | None] = {}
        self._takes: socket.socket | None = None
        #: What processes send by; None where there are no such files.
        self.sends: socket.socket | None = None
        if hasattr(os, "memfd_create"):
            # A system may have the one and not the other.
            with suppress(OSError):
                self._takes, self.sends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                # Flags of ``socket.recv_fds`` are not heeded (CPython issue 107898; 3.11 to 3.13).
                self._takes.setblocking(False)

    def close(self) -> None:
        """Close what is open; arrays stay."""
        self.take_what_came()
        for file in self._came.values():
            if file is not None:
                file.close()
        self._came.clear()
        for end in (self._takes, self.sends):
            if end is not None:
                end.close()
        self._takes = self.sends = None

    def take_what_came(self) -> None:
        """Take the files that have come, so that no process waits until one has room to send."""
        with self._lock:
            self._take_all()

    def file_of(self, run: int) -> io.BufferedIOBase:
        """Return the file of a run whose answer has come; who calls closes it.

        Raises
        ------
        RunError
            If this process was not let open it.
        """
        with self._lock:
            # It was sent before the answer.
            self._take_all()
            file = self._came.pop(run, None)
        if file is None:
            raise RunError(
                "no room among the open files (ulimit -n) for what comes of runs of --jobs; with --jobs 1 none is opened"
            )
        return file

    def _take_all(self) -> None:
        with suppress(BlockingIOError):
            while self._takes is not None:
                message, files, _, _ = socket.recv_fds(self._takes, _RUN.size, 1)
                (run,) = _RUN.unpack(message)
                self._came[run] = self._kept(files[0]) if files else None

    def _kept(self, file: int) -> io.BufferedIOBase:
        opened = os.fdopen(file, "rb")
        if sum(isinstance(one, io.BufferedReader) for one in self._came.values()) < MOST_OPEN:
            return opened
        with opened:
            return io.BytesIO(opened.read())


def answer_of(result: Any, task: Any, run: int, files: socket.socket | None) -> Answer:
    """Return what is sent of a result, and send its arrays.

    Parameters
    ----------
    result : object
        What came of a run.
    task : object
        What the run was of.
    run : int
        Its number.
    files : socket, optional
        :attr:`AnswerFiles.sends`.
    """
    buffers: Buffers = []
    head = _dumped(result, task, buffers)
    sizes = tuple(buffer.raw().nbytes for buffer in buffers)
    if files is None or sum(sizes) < LEAST_BYTES or not _sent(buffers, run, files):
        return Answer(_dumped(result, task, None))
    return Answer(head, sizes)


def result_of(answer: Answer, task: Any, run: int, files: AnswerFiles) -> Any:
    """Return the result that was answered; parameters as of :func:`answer_of`."""
    if not answer.sizes:
        return _loaded(answer, task, ())
    # What sending tasks has taken is free by now, but in pieces of other sizes.
    give_back_memory()
    with files.file_of(run) as file:
        return _loaded(answer, task, _read(answer.sizes, file))


def _loaded(answer: Answer, task: Any, arrays: Iterable[bytearray]) -> Any:
    before = _task.set(task)
    try:
        return ForkingPickler.loads(answer.head, buffers=arrays)
    finally:
        _task.reset(before)


def _read(sizes: tuple[int, ...], file: io.BufferedIOBase) -> Iterator[bytearray]:
    """Yield the arrays that are in a file."""
    for size in sizes:
        array = bytearray(size)
        file.readinto(array)
        yield array


def _sent(buffers: Buffers, run: int, files: socket.socket) -> bool:
    """Send buffers in a file; return whether the system has let us."""
    try:
        file = os.memfd_create(f"zcube run {run}")
    except OSError:
        return False
    try:
        with os.fdopen(os.dup(file), "wb") as out:
            for buffer in buffers:
                out.write(buffer.raw())
        # Both have one place in the file.
        os.lseek(file, 0, os.SEEK_SET)
        socket.send_fds(files, [_RUN.pack(run)], [file])
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _dumped(result: Any, task: Any, buffers: Buffers | None) -> bytes:
    into = io.BytesIO()
    _Writer(into, task, buffers).dump(result)
    return into.getvalue()


class _Writer(ForkingPickler):
    """Sends as :mod:`multiprocessing` does, but for arrays and what the task has."""

    def __init__(self, into: io.BytesIO, task: Any, buffers: Buffers | None):
        super().__init__(into, _PROTOCOL, True, None if buffers is None else buffers.append)
        named = fields(task) if is_dataclass(task) and not isinstance(task, type) else ()
        held = {field.name: getattr(task, field.name) for field in named}
        #: What is named must last, for another object could have the place of one that was made for its field anew.
        self._held = {name: value for name, value in held.items() if not isinstance(value, _SCALARS)}
        self._names = {id(value): name for name, value in self._held.items()}

    def reducer_override(self, value: Any) -> Any:
        """Return how an object is made again where that is not as it says itself."""
        if (name := self._names.get(id(value))) is not None:
            return _of_task, (name,)
        if type(value) is np.ndarray and value.size > 1 and not any(value.strides) and not value.flags.writeable:
            # As an array, for a number alone may be of another type.
            return np.broadcast_to, (value[(0,) * value.ndim + (...,)], value.shape)
        return NotImplemented


def _of_task(name: str) -> Any:
    return getattr(_task.get(), name)
