"""Names of a package that are imported only when they are asked for, so that importing the package takes no time."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package.

    Parameters
    ----------
    package : str
        Its name, ``__name__``.
    homes : mapping
        Where each name stands: ``module:name``, or ``module`` for a module itself.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, inner = homes[name].partition(":")
        value = getattr(import_module(module), inner) if inner else import_module(module)
        setattr(sys.modules[package], name, value)
        return value

    return find


def keep_names(package: str, homes: Mapping[str, str]) -> None:
    """Keep names of a package that some of its subpackages have too: importing these does not take them.

    Parameters
    ----------
    package : str
        Its name, ``__name__``.
    homes : mapping
        Where each name stands: ``module:name``.
    """

    def found(name: str) -> property:
        module, _, inner = homes[name].partition(":")
        return property(lambda _: getattr(import_module(module), inner), lambda _, subpackage: None)

    sys.modules[package].__class__ = type("Package", (ModuleType,), {name: found(name) for name in homes})
