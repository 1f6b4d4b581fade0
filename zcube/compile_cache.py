"""Where compiled kernels are kept: one folder per state of the sources, so that none outlives what it was compiled from.

Numba knows a kept kernel by the content of its own file. It does not see a function or a constant of another file that was
compiled into it, and pip leaves its folders in place. So every kernel is kept in a folder whose name holds the hash of all
sources a kernel can depend on and of the versions that compile them; Numba adds the processor and the signature. The means
is Numba's documented setting of the cache's place, ``NUMBA_CACHE_DIR``, which a user's own value stands above.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
import platformdirs
from numba import config, njit

import zcube.number_operators  # noqa: F401 - for every kernel
from zcube.as_written import offer_as_written
from zcube.kernel_files import KernelCache

Function = TypeVar("Function", bound=Callable[..., Any])

#: A folder that no process has started with for so long is removed when another one is made.
KEPT_DAYS = 30.0

#: A folder is ours, and may be removed, by this file in it; its time is that of the last start.
MARKER = "kernels-of-zcube"

_PREFIX = "zcube-kernels-"
_BORROWED = "kernels-from"
_PACKAGE = Path(__file__).parent

#: Installations of the same sources share a folder, but Numba keeps each one's kernels apart, by the path of their source: what
#: is noted of them bears this.
INSTALLATION = hashlib.sha256(str(_PACKAGE).encode()).hexdigest()[:16]

#: A folder holds every kernel of this installation if this file is in it, which :func:`zcube.warm.warm` writes; it need not be
#: writable then.
COMPLETE = f"all-kernels-of-zcube-{INSTALLATION}"

# Who imports one of these may hold kernels.
_COMPILERS = (b"import numba", b"from numba", b"zcube.compile_cache import", b"zcube.network.kernels import")
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.MULTILINE)


def compiled(*, as_written: bool = True, **options: Any) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function at its first call and keeps the outcome in :func:`folder`.

    A function of another package is not kept: its sources are not in the folder's hash.

    Parameters
    ----------
    as_written : bool
        Whether it may run as written instead, see :mod:`zcube.as_written`.
    **options
        Of ``numba.njit``, ``cache`` excepted.
    """

    def compile_function(function: Function) -> Function:
        place = folder() if function.__module__.startswith("zcube.") else None
        with _kept_in(place):
            compiled_function: Function = njit(**options)(function)
            if place is not None:
                vars(compiled_function)["_cache"] = KernelCache(function)
        if as_written:
            offer_as_written(compiled_function)
        return compiled_function

    return compile_function


def unkept(**options: Any) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function as a part of others, which are kept; options are those of ``numba.njit``."""

    def compile_function(function: Function) -> Function:
        compiled_function: Function = njit(**options)(function)
        return compiled_function

    return compile_function


@cache
def folder() -> Path | None:
    """Return this installation's folder of compiled kernels, made and writable; None where no place for it can be written.

    The places tried, in order: ``NUMBA_CACHE_DIR``, the user's cache folder, ``__pycache__`` beside the sources. One that
    cannot be written but is :data:`COMPLETE` is used through a folder of links to its files, which goes with the process.
    """
    sources = kernel_sources(_PACKAGE)
    if not sources:  # The package is in an archive.
        return None
    name = _PREFIX + source_hash(sources)
    user = platformdirs.user_cache_path("zcube", appauthor=False)
    set_by_user = vars(config)["CACHE_DIR"]
    roots = [*([Path(set_by_user)] if set_by_user else []), user, _PACKAGE / "__pycache__"]
    for root in roots:
        place = root / name
        # Without a home the user's folder is "~/...", and a relative XDG_CACHE_HOME is to be ignored.
        if root is user and not root.is_absolute():
            continue
        try:
            unknown = not place.exists()
            place.mkdir(parents=True, exist_ok=True)
            (place / MARKER).touch()
            tempfile.TemporaryFile(dir=place).close()
        except OSError:
            with suppress(OSError):
                if (place / COMPLETE).is_file():
                    return _linked(place)
            continue
        if unknown:
            remove_unused(root)
        return place
    tried = ", ".join(map(str, roots))
    warnings.warn(f"kernels are compiled anew in every run: none of {tried} can be written; set NUMBA_CACHE_DIR", stacklevel=2)
    return None


def borrowed() -> Path | None:
    """Return the folder that cannot be written whose kernels this process uses; None if it has one of its own."""
    place = folder()
    source = None if place is None else place / _BORROWED
    return source.resolve() if source is not None and source.is_symlink() else None


def _linked(place: Path) -> Path:
    """Return a temporary folder of links to the files of another: Numba takes kernels from folders only that it can write."""
    links = Path(tempfile.mkdtemp(prefix=_PREFIX))
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    (links / _BORROWED).symlink_to(place.absolute())
    for path in [place / COMPLETE, *place.rglob("*.nb[ci]")]:
        link = links / path.relative_to(place)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.absolute())
    return links


def kernel_sources(package: Path) -> dict[str, bytes]:
    """Return the text of every module of ``zcube`` that holds kernels or is imported, however indirectly, by one.

    Modules are read, not imported; this takes milliseconds.

    Parameters
    ----------
    package : Path
        Folder of the package.

    Returns
    -------
    dict
        Content by module name, in order of the names.
    """
    texts = dict(_texts(package))
    found: set[str] = set()
    fresh = {module for module, text in texts.items() if any(name in text for name in _COMPILERS)}
    while fresh:
        found |= fresh
        fresh = {name for module in fresh for name in _imported(texts[module]) if name in texts} - found
    return {module: texts[module] for module in sorted(found)}


def source_hash(sources: dict[str, bytes]) -> str:
    """Return the hash of sources and of the versions of Python, NumPy, Numba and llvmlite, as 16 hexadecimal digits."""
    versions = (str(sys.implementation.cache_tag), np.__version__, numba.__version__, llvmlite.__version__)
    digest = hashlib.sha256(repr(versions).encode())
    for module, text in sources.items():
        digest.update(f"{module} {len(text)} ".encode() + text)
    return digest.hexdigest()[:16]


def remove_unused(root: Path, kept_days: float = KEPT_DAYS) -> None:
    """Remove the folders under ``root`` that hold our :data:`MARKER` and that nothing was started with for ``kept_days``.

    A process that started before and still runs goes on: it has its kernels in memory, and Numba makes the folder again for
    one it has yet to compile.
    """
    oldest = time.time() - kept_days * 86400
    for place in root.glob(f"{_PREFIX}*"):
        try:
            unused = not place.is_symlink() and (place / MARKER).stat().st_mtime < oldest
        except OSError:
            continue
        if unused:
            shutil.rmtree(place, ignore_errors=True)


def _texts(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the text of every module of a package; each run waits for it."""
    for place, folders, files in os.walk(package):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        name = ".".join(Path(place).relative_to(package.parent).parts)
        for file in files:
            if file.endswith(".py"):
                with open(f"{place}/{file}", "rb", buffering=0) as text:  # noqa: PTH123 - making a path takes as long as reading
                    yield name if file == "__init__.py" else f"{name}.{file.removesuffix('.py')}", text.read()


def _imported(text: bytes) -> set[str]:
    """Return the modules that a module may import: ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    found: set[str] = set()
    for source, names, modules in _IMPORT.findall(text):
        listed = re.findall(rb"[\w.]+", names or modules)
        found.update(name.decode() for name in (source, *([source + b"." + name for name in listed] if source else listed)))
    return found


@contextmanager
def _kept_in(place: Path | None) -> Iterator[None]:
    """Let functions decorated inside be kept in a folder, with Numba's settings as before afterwards."""
    # Numba takes the place when a function is decorated; the list of locators, empty unless the user set one and not known
    # to its first versions, is emptied lest another place come first.
    ours = {"CACHE_DIR": str(place or ""), "CACHE_LOCATOR_CLASSES": ""}
    before = {name: getattr(config, name, "") for name in ours}
    vars(config).update(ours)
    try:
        yield
    finally:
        vars(config).update(before)
