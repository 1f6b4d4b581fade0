"""A process that does runs for the one that started it: :mod:`zcube.side_by_side`."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import parent_process
from typing import Any

from zcube.process_copy import end_with_first_thread
from zcube.progress import ShareDone
from zcube.run_answer import Answer, answer_of

#: A process tells how far its run is no more often than this.
TELL_EVERY_S = 0.1

#: What a process tells: its own number, that of its run, and the part that is done.
TOLD = struct.Struct("=qqd")

#: To whom this process tells how far its run is, and sends the arrays of what comes of it.
_tells: Connection | None = None
_files: socket.socket | None = None


def begin(tells: Connection, files: socket.socket | None, threshold: tuple[int, int, int], preload: str, is_copy: bool) -> None:
    """Make a process ready, and let it end with the one that started it, however that ends."""
    global _tells, _files
    _tells, _files = tells, files
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A copy would hear it as the command line does.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if is_copy:
        # Who has copies made has one thread only; others may have processes started by one that ends before.
        end_with_first_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    importlib.import_module(preload)
    gc.freeze()
    gc.set_threshold(*threshold)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def do(run: int, work: Callable[[Any, ShareDone], Any], task: Any) -> Answer:
    """Do a run, tell how far it is, and answer with what came of it."""
    tells, process, last_s = _tells, os.getpid(), float("-inf")
    assert tells is not None

    def told(share: float) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= TELL_EVERY_S:
            last_s = now_s
            # So short that a pipe takes it whole, however many write.
            tells.send_bytes(TOLD.pack(process, run, share))

    told(0.0)
    return answer_of(work(task, told), task, run, _files)
