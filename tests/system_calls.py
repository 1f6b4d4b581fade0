"""A process whose writing system calls are held up one by one, to go on, to fail, or to be met by a signal.

The kernel hands over the calls (seccomp's user notification, Linux 5.0 on), so that those of native libraries count as well.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

#: Numbers on x86-64, and which of their arguments are paths: (folder's descriptor or None, path).
PATHS: dict[str, tuple[int, tuple[tuple[int | None, int], ...]]] = {
    "open": (2, ((None, 0),)),
    "truncate": (76, ((None, 0),)),
    "rename": (82, ((None, 0), (None, 1))),
    "mkdir": (83, ((None, 0),)),
    "rmdir": (84, ((None, 0),)),
    "creat": (85, ((None, 0),)),
    "link": (86, ((None, 0), (None, 1))),
    "unlink": (87, ((None, 0),)),
    "symlink": (88, ((None, 1),)),
    "chmod": (90, ((None, 0),)),
    "openat": (257, ((0, 1),)),
    "mkdirat": (258, ((0, 1),)),
    "unlinkat": (263, ((0, 1),)),
    "renameat": (264, ((0, 1), (2, 3))),
    "linkat": (265, ((0, 1), (2, 3))),
    "symlinkat": (266, ((1, 2),)),
    "fchmodat": (268, ((0, 1),)),
    "renameat2": (316, ((0, 1), (2, 3))),
}
#: Numbers of those that take an open file, and which argument it is.
OPEN_FILES: dict[str, tuple[int, int]] = {
    "write": (1, 0), "pwrite64": (18, 0), "writev": (20, 0), "pwritev": (296, 0), "ftruncate": (77, 0), "fsync": (74, 0),
    "fdatasync": (75, 0), "fchmod": (91, 0), "fallocate": (285, 0), "sendfile": (40, 0), "copy_file_range": (326, 2),
}  # fmt: skip
NAMES = {number: name for table in (PATHS, OPEN_FILES) for name, (number, _) in table.items()}
#: Calls that take room on a disk; those that only take it back go on where a disk is full.
TAKES_ROOM = frozenset({"open", "openat", "creat", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat", *OPEN_FILES})

_PRCTL_NO_NEW_PRIVS, _SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER = 38, 317, 1, 8
_AUDIT_X86_64, _ALLOW, _NOTIFY = 0xC000003E, 0x7FFF0000, 0x7FC00000
#: Byte offsets in ``struct seccomp_data``, of the number, the architecture and the arguments' lower halves.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
#: An open for writing has one of O_WRONLY, O_RDWR, O_CREAT and O_TRUNC.
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NOTICE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1


def missing() -> str:
    """Return why calls cannot be held up here, nothing where they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "system calls are known by number on x86-64 Linux alone"
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.is_file() or "user_notif" not in actions.read_text().split():
        return "this kernel hands over no system calls (seccomp user notification)"
    return ""


@dataclass(frozen=True)
class Call:
    """A writing system call of a process: its place among those that it made below the folder looked at, from 0."""

    place: int
    name: str
    paths: tuple[str, ...]


@dataclass
class Ended:
    """How a process ended: exit status (negative: by that signal), calls, what it printed on stderr, processor time."""

    status: int
    calls: list[Call] = field(default_factory=list)
    stderr: str = ""
    cpu_s: float = 0.0


def watch(
    work: Callable[[], int], below: Path, decide: Callable[[Call], int], timeout_s: float = 60.0, stdout: str = os.devnull
) -> Ended:
    """Fork, do some work there and return how it ended.

    Parameters
    ----------
    work : callable
        Returns the exit status.
    below : Path
        Folder whose paths count.
    decide : callable
        Of each call: 0 to let it go on, an error number to let it fail, or a negative signal to send before it.
    timeout_s : float
        After which the process is killed; it then ends with status -9 and ``TimeoutError`` is raised.
    stdout : str
        File that the work prints into.
    """
    ours, theirs = socket.socketpair()
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        _be_watched(work, theirs, tells, stdout)
    theirs.close()
    os.close(tells)
    try:
        return _supervise(child, ours, told, str(below), decide, timeout_s)
    finally:
        ours.close()
        os.close(told)


def _be_watched(work: Callable[[], int], pipe: socket.socket, tells: int, stdout: str) -> None:
    status = 99
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(stdout, os.O_WRONLY), 1)
        os.dup2(tells, 2)
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115
        listener = _install_filter()
        socket.send_fds(pipe, [b"x"], [listener])
        os.close(listener)
        pipe.close()
        status = work()
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}".encode())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _install_filter() -> int:
    """Let the kernel hand over this process's writing calls; returns the descriptor that they come out of."""
    by_number = [("open", 1), ("openat", 2)]
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _AUDIT_X86_64), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, _NUMBER)]
    for name, flags in by_number:
        # Only those that write.
        steps += [(_EQUAL, 0, 4, PATHS[name][0]), (_LOAD, 0, 0, _ARGUMENTS + 8 * flags), (_ANY_BIT, 0, 1, _WRITES)]
        steps += [(_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
    for number, argument in OPEN_FILES.values():
        # All but standard input, output and errors.
        steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS + 8 * argument), (_AT_LEAST, 0, 1, 3)]
        steps += [(_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
    for name, (number, _) in PATHS.items():
        if name not in dict(by_number):
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NOTIFY)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=H6xQ", len(steps), ctypes.addressof(program))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PRCTL_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = library.syscall(_SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, head)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def _supervise(
    child: int, pipe: socket.socket, told: int, below: str, decide: Callable[[Call], int], timeout_s: float
) -> Ended:
    _, listeners, _, _ = socket.recv_fds(pipe, 1, 1)
    ended, said = Ended(0), []
    poll = select.poll()
    poll.register(told, select.POLLIN)
    listener = listeners[0] if listeners else None
    if listener is not None:
        poll.register(listener, select.POLLIN)
    late = False
    while True:
        ready = poll.poll(timeout_s * 1000)
        if not ready:
            late = True
            os.kill(child, signal.SIGKILL)
            break
        if any(place == told for place, _ in ready):
            text = os.read(told, 1 << 16)
            said.append(text)
            if not text:
                break
        elif listener is not None and any(events & select.POLLIN for _, events in ready):
            _answer(listener, child, below, decide, ended)
        else:
            poll.unregister(listener)
    if listener is not None:
        os.close(listener)
    _, state, usage = os.wait4(child, 0)
    ended.cpu_s = usage.ru_utime + usage.ru_stime
    ended.status = os.waitstatus_to_exitcode(state)
    ended.stderr = b"".join(said).decode(errors="replace")
    if late:
        raise TimeoutError(f"nothing heard for {timeout_s} s after {ended.calls[-1:]}: {ended.stderr[-500:]}")
    return ended


def _answer(listener: int, child: int, below: str, decide: Callable[[Call], int], ended: Ended) -> None:
    """Take one call and decide on it."""
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
    except OSError:
        # The process has gone meanwhile.
        return
    key, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
    name = NAMES[number]
    decision = 0
    try:
        paths = _paths(thread, name, arguments)
    except OSError:
        paths = ()
    if any(path.startswith(below) for path in paths):
        call = Call(len(ended.calls), name, paths)
        ended.calls.append(call)
        decision = decide(call)
    if decision < 0:
        os.kill(child, -decision)
        if decision == -signal.SIGKILL:
            return
    answer = _ANSWER.pack(key, 0, -decision if decision > 0 else 0, 0 if decision > 0 else _GO_ON)
    try:
        fcntl.ioctl(listener, _SEND, bytearray(answer))
    except OSError as error:
        # A signal has interrupted the call, which is then made again; or the process is gone.
        if error.errno != errno.ENOENT:
            raise


def _paths(thread: int, name: str, arguments: list[int]) -> tuple[str, ...]:
    if name in OPEN_FILES:
        return (str(Path(f"/proc/{thread}/fd/{arguments[OPEN_FILES[name][1]]}").readlink()),)
    paths = []
    for folder, place in PATHS[name][1]:
        path = _text(thread, arguments[place])
        at = None if folder is None else ctypes.c_int(arguments[folder] & 0xFFFFFFFF).value
        start = "cwd" if at is None or at == -100 else f"fd/{at}"
        paths.append(path if path.startswith("/") else str(Path(f"/proc/{thread}/{start}").readlink() / path))
    return tuple(paths)


def _text(thread: int, address: int) -> str:
    """Return a text of another process's memory."""
    found = b""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        while b"\0" not in found and len(found) < 4096:
            memory.seek(address + len(found))
            # Up to the page's end, for the next page may not be there.
            found += memory.read(4096 - (address + len(found)) % 4096)
    return os.fsdecode(found.split(b"\0")[0])
