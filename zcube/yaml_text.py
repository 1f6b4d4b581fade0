"""YAML as this program reads it, by PyYAML: plain values, no key twice, and aliases counted as all that they stand for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError
from zcube.inputs import MAX_DEPTH

#: Largest text read, with PyYAML's own library in C and without: what takes ten seconds of a processor.
MOST_BYTES, MOST_BYTES_PLAIN = 4 << 20, 512 << 10
#: Values, with those that aliases stand for: an alias takes three characters and may stand for all that comes before it.
MOST_VALUES = 1_000_000

#: Characters of a whole number. YAML has numbers to the base 60, which PyYAML adds up digit by digit.
MOST_DIGITS = 4300

_INTEGER = "tag:yaml.org,2002:int"
_MERGE = "tag:yaml.org,2002:merge"


def yaml_document(path: Path, text: str, instead: str) -> Any:
    """Return the value of a YAML text.

    Parameters
    ----------
    path : Path
        For faults.
    text : str
        One document.
    instead : str
        What else the file could be, where PyYAML is not installed.

    Raises
    ------
    InputError
        If it is no YAML of plain values, too large, nested too deeply, or a key stands twice in a mapping; the last fault names
        both places.
    """
    try:
        yaml = import_module("yaml")
    except ImportError as error:
        raise InputError(Fault(str(path), "YAML, and PyYAML is not installed", f"{instead}, or pip install pyyaml")) from error
    kind = getattr(yaml, "CSafeLoader", None)
    if len(text) > (most := MOST_BYTES_PLAIN if kind is None else MOST_BYTES):
        raise InputError(Fault(str(path), f"YAML of {len(text)} characters", f"at most {most}, or {instead}"))
    try:
        loader = (kind or yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Tree(loader, yaml, path).check(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise InputError(Fault(str(path), "YAML that is nested too deeply", "a plain document")) from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        # PyYAML looks up what a tag claims of a text: !!bool of another word, !!timestamp of no time, !!int of nothing.
        raise InputError(Fault(str(path), " ".join(str(error).split())[:200], "YAML of plain values")) from error


class _Tree:
    """Goes through a document's nodes before any value is made of them."""

    def __init__(self, loader: Any, yaml: Any, path: Path):
        self._loader, self._path = loader, path
        self._scalar, self._mapping = yaml.ScalarNode, yaml.MappingNode
        #: Values of each list and mapping that is known, and how deep it is; nothing while they are counted.
        self._known: dict[int, tuple[int, int] | None] = {}

    def check(self, node: Any, above: int = 0) -> tuple[int, int]:
        """Return the values of a node, aliases in full, and how deep it is."""
        if isinstance(node, self._scalar):
            node.value.encode()
            if node.tag == _INTEGER and len(node.value) > MOST_DIGITS:
                raise ValueError(f"a number of {len(node.value)} characters at {_place(node)}")
            return 1, 0
        if id(node) in self._known:
            known = self._known[id(node)]
            if known is None:
                raise ValueError(f"a value that holds itself at {_place(node)}")
        else:
            self._known[id(node)] = None
            parts = [self.check(part, above + 1) for part in _parts(node)] if above < MAX_DEPTH else [(0, MAX_DEPTH)]
            if isinstance(node, self._mapping):
                self._refuse_repeated(node)
            known = 1 + sum(count for count, _ in parts), 1 + max((depth for _, depth in parts), default=0)
            self._known[id(node)] = known
        if known[0] > MOST_VALUES:
            found = f"more than {MOST_VALUES} values, those that aliases stand for counted"
            raise InputError(Fault(str(self._path), found, f"at most {MOST_VALUES}"))
        if above + known[1] > MAX_DEPTH:
            raise RecursionError
        return known

    def _refuse_repeated(self, node: Any) -> None:
        places: dict[Hashable, Any] = {}
        for key, _ in node.value:
            if not isinstance(key, self._scalar):
                continue
            value = key.value if key.tag == _MERGE else self._loader.construct_object(key)
            if value in places:
                found = f"the key {key.value[:40]!r} twice, at {_place(places[value])} and at {_place(key)}"
                raise InputError(Fault(str(self._path), found, "each key once in its mapping"))
            places[value] = key


def _parts(node: Any) -> Iterator[Any]:
    for part in node.value:
        yield from part if isinstance(part, tuple) else (part,)


def _place(node: Any) -> str:
    return f"line {node.start_mark.line + 1} column {node.start_mark.column + 1}"
