"""Compiled kernels as files: none is taken that is not whole, and a disk that takes none costs the next run a compilation.

Numba reads its index and data of a kernel with ``pickle`` and lets whatever goes wrong end the run: a file cut short by a crash
of the machine, one that cannot be read, a full disk. It also numbers data, so that two processes which compile one kernel for
different types at once may call theirs alike, and the index of the one then names the code of the other.
"""

from __future__ import annotations

import hashlib
import io
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile


class NotKeptWarning(UserWarning):
    """A kernel was compiled and could not be kept."""


#: Age of what was being written that a process which writes the same file takes for a dead one's.
DEAD_AFTER_S = 3600.0

_DIGEST = hashlib.sha256


class KernelFiles(IndexDataCacheFile):
    """Numba's files of one kernel, each followed by its digest, which unpickling passes over."""

    def _load_index(self) -> dict[Any, str]:
        overloads: dict[Any, str] = super()._load_index() if _is_whole(self._index_path) else {}
        return overloads

    def _load_data(self, name: str) -> Any:
        if not _is_whole(self._data_path(name)):
            # Numba compiles what it meets this at.
            raise OSError(f"{name} is not whole")
        return super()._load_data(name)

    def _data_name(self, number: int) -> str:
        # One of its own for every process.
        return str(self._data_name_pattern).replace("{number:d}", uuid.uuid4().hex[:12])

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        raw = content.getvalue()
        mine = Path(f"{filepath}.tmp.{uuid.uuid4().hex[:12]}")
        try:
            mine.write_bytes(raw + _DIGEST(raw).digest())
            _clear_dead(Path(filepath), mine.stat().st_mtime)
            mine.replace(filepath)
        except BaseException:
            with suppress(OSError):
                mine.unlink()
            raise


class KernelCache(FunctionCache):
    """Numba's cache of one kernel's compiled versions, in :class:`KernelFiles`."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        stock = self._cache_file
        self._cache_file = KernelFiles(self.cache_path, self._impl.filename_base, stock._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a kept version; None where there is none.

        Numba first loads everything that it can compile, SciPy's linear algebra included. Kept code needs of this only what
        counts references to arrays; whatever is yet to be compiled has all of it loaded then.
        """
        from numba.core.runtime import rtsys

        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled version; where that cannot be, a later process compiles it again."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            told = f"kernels cannot be kept in {self.cache_path} and are compiled anew: {error.strerror or error}"
            warnings.warn(told, NotKeptWarning, stacklevel=2)


def _is_whole(path: str) -> bool:
    try:
        raw = Path(path).read_bytes()
    except OSError:
        return False
    size = _DIGEST().digest_size
    return len(raw) > size and _DIGEST(raw[:-size]).digest() == raw[-size:]


def _clear_dead(path: Path, now_s: float) -> None:
    """Remove what others began to write in a file's stead and did not end, by the disk's clock, which is that of its files."""
    for left in path.parent.glob(f"{path.name}.tmp.*"):
        with suppress(OSError):
            if now_s - left.stat().st_mtime > DEAD_AFTER_S:
                left.unlink()
