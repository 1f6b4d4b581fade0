#!/usr/bin/env bash
# CPython: `socket.recv_fds` and `socket.send_fds` take `flags` and, since they were added in 3.9, pass them to nobody.
#
# Both are documented with `flags` (and `address` for sending), "see recvmsg() and sendmsg()". A program that polls for files from
# other processes with `MSG_DONTWAIT` waits for ever instead, and one that peeks with `MSG_PEEK` takes the message. Reported as
# python/cpython issue 107898. What works: a socket that is set not to block, or recvmsg() itself with ancillary data.
#
# Seen with 3.11.7, 3.12.1 and 3.13.0: asked to peek, recv_fds takes the message: True; recvmsg takes it: False; asked not to wait,
# recv_fds still waits when 0.5 s are over: True; recvmsg: False
set -euo pipefail
python3 - <<'PYTHON'
import os
import platform
import socket
import threading

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def is_taken_by(peek) -> bool:
    file = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(theirs, [b"one"], [file])
    os.close(file)
    peek()
    ours.setblocking(False)
    try:
        ours.recv(3)
    except BlockingIOError:
        return True
    finally:
        ours.setblocking(True)
    return False


def waits(receive) -> bool:
    def ask() -> None:
        try:
            receive()
        except BlockingIOError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(0.5)
    still = thread.is_alive()
    theirs.send(b"end")
    thread.join()
    ours.setblocking(False)
    try:
        ours.recv(3)
    except BlockingIOError:
        pass
    ours.setblocking(True)
    return still


found = (
    is_taken_by(lambda: socket.recv_fds(ours, 3, 1, socket.MSG_PEEK)),
    is_taken_by(lambda: ours.recvmsg(3, 0, socket.MSG_PEEK)),
    waits(lambda: socket.recv_fds(ours, 3, 1, socket.MSG_DONTWAIT)),
    waits(lambda: ours.recvmsg(3, 0, socket.MSG_DONTWAIT)),
)
print(
    f"CPython {platform.python_version()}: asked to peek, recv_fds takes the message: {found[0]}; recvmsg takes it: {found[1]}; "
    f"asked not to wait, recv_fds still waits when 0.5 s are over: {found[2]}; recvmsg: {found[3]}"
)
assert found == (True, False, True, False), found
PYTHON
