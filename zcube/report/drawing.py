"""Pictures of a folder, drawn by copies of this process beside it where there are processors for them.

Who draws which changes nothing in a picture. Numbers of pictures wait in a pipe, from which every process takes the next one
when it is done with one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from zcube.process_copy import Copy, may_have_copies
from zcube.progress import Progress, silent
from zcube.report.picture import Draws, save_both, saved_svg
from zcube.side_by_side import jobs_for

#: About what a picture takes, as SVG and as PNG.
PICTURE_S = 0.4
#: What is imported before copies are made, so that not each of them does.
_DRAWN_BY = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg")

_NUMBER = struct.Struct("=H")


@contextmanager
def drawing(draws: Draws, folder: Path, jobs: int | None) -> Iterator[Callable[[Progress], dict[str, bytes]]]:
    """Begin to draw pictures into a folder; what is got takes part in it, waits for the end, and gives them as SVG by name.

    Parameters
    ----------
    draws : mapping
        What draws each; called in this process or in a copy of it.
    folder : Path
        Where they go, as ``NAME.svg`` and ``NAME.png``.
    jobs : int, optional
        Processes that draw, this one among them; default: as many as there are processors for.
    """
    begun = _Drawing(draws, folder)
    try:
        if may_have_copies():
            begun.start(jobs_for(jobs, len(draws), PICTURE_S) - 1)
        yield begun.ended
    finally:
        begun.stop()


class _Drawing:
    def __init__(self, draws: Draws, folder: Path):
        self._draws, self._folder = draws, folder
        self._copies: list[Copy] = []
        self._drawn_here: set[str] = set()
        self._next, give = os.pipe()
        # The last ones, of cells of links and times, take longest. A pipe takes 4,096 bytes at least at once, 2,048 numbers.
        os.write(give, b"".join(map(_NUMBER.pack, reversed(range(len(draws))))))
        os.close(give)

    def start(self, copies: int) -> None:
        for module in _DRAWN_BY if copies else ():
            import_module(module)
        # Where the system lets no further process begin, there are fewer.
        with suppress(OSError):
            for _ in range(copies):
                self._copies.append(Copy(self._draw, silent))

    def stop(self) -> None:
        for copy in self._copies:
            copy.kill()
            copy.wait()
        os.close(self._next)

    def ended(self, progress: Progress) -> dict[str, bytes]:
        self._draw(progress)
        for copy in self._copies:
            copy.wait()
        if any(copy.poll() != 0 for copy in self._copies):
            # Whatever became of one, and of the picture that it was at, a fault is this process's to tell.
            for name in self._draws.keys() - self._drawn_here:
                self._save(name)
        return {name: saved_svg(self._folder, name) for name in self._draws}

    def _draw(self, progress: Progress) -> None:
        names = list(self._draws)
        progress("drawing", 0, 0, "")
        while number := os.read(self._next, _NUMBER.size):
            self._save(names[_NUMBER.unpack(number)[0]])
            progress("drawing", 0, 0, "")

    def _save(self, name: str) -> None:
        save_both(self._draws[name](), self._folder, name)
        self._drawn_here.add(name)
