"""Reading declared files (TOML) and finding the bundled ones by stem.

Every fault of a file is collected before one :class:`~zcube.errors.InputError` is raised.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import is_file, read_bounded
from zcube.json_text import RepeatedKeyError, json_value

#: A declared file is a page of text; anything larger is not one of ours.
MAX_DECLARED_BYTES = 1 << 20


class Declared(BaseModel):
    """Base of everything a user declares in a file: frozen, unknown keys refused, numbers finite."""

    # Most of what can be declared is not in a run: what checks it is built when it is first needed.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class NotTomlError(InputError):
    """A text that is no TOML."""


Model = TypeVar("Model", bound=BaseModel)

#: Levels of tables and lists in a document; and what is longer than the longest whole number.
MAX_DEPTH, _TOO_LONG = 100, 10**4300

#: A TOML key of as many parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}""", re.ASCII)

#: A key's part in quotes may hold dots and equals signs, as the names of fabrics and files do.
_KEY_PART = re.compile(r"""(?:^|\.)\s*("[^"]*"(?=\s*(?:\.|$))|'[^']*'(?=\s*(?:\.|$))|[^.]*)""")
_ASSIGNMENT = re.compile(r"""(?P<key>(?:"[^"\r\n]*"|'[^'\r\n]*'|[^"'=\r\n])*)=(?P<value>[^\r\n]*)""")


#: An escape that stands for a character only together with another.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def bundled_folder(kind: str) -> Path:
    """Return the folder of the bundled files of a kind (``"topologies"`` or ``"scenarios"``).

    In an installed wheel they lie inside the package, in a checkout beside it.
    """
    package = Path(__file__).resolve().parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def bundled_stems(kind: str) -> list[str]:
    """Return the stems of the bundled files of a kind, sorted."""
    return sorted(path.stem for path in bundled_folder(kind).glob("*.toml"))


def resolve_declared(reference: str, kind: str) -> Path:
    """Find a declared file by bundled stem or by path.

    Parameters
    ----------
    reference : str
        A stem such as ``zcube-1024``, or a path to a TOML file.
    kind : str
        ``"topologies"`` or ``"scenarios"``.

    Raises
    ------
    InputError
        If there is neither a bundled file of that stem nor a file at that path.
    """
    if reference in bundled_stems(kind):
        return bundled_folder(kind) / f"{reference}.toml"
    if is_file(reference):
        return Path(reference)
    stems = ", ".join(bundled_stems(kind))
    raise InputError(Fault(reference or "''", "no such file", f"a path to a TOML file or one of {kind}: {stems}"))


def json_document(path: Path, text: str) -> Any:
    """Return the JSON of a file's text; NaN, infinities, repeated keys and halves of surrogate pairs are refused.

    Raises
    ------
    InputError
        If it is no JSON; one that ends early is named as such.
    """
    try:
        document = json_value(text)
        _check_tree(document)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except UnicodeEncodeError as error:
        raise InputError(Fault(str(path), "half a surrogate pair in a text", "text that UTF-8 can hold")) from error
    except RecursionError as error:
        raise InputError(Fault(str(path), "JSON that is nested too deeply", "a plain document")) from error
    except RepeatedKeyError as error:
        raise InputError(Fault(str(path), str(error), "each key once in its table")) from error
    except ValueError as error:
        raise InputError(Fault(str(path), f"no whole JSON ({str(error)[:100]})", "a whole JSON document")) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises
    ------
    InputError
        If the file is missing, too large, not UTF-8 or not TOML; a syntax error names the line.
    """
    return toml_document(str(path), read_bounded(path, MAX_DECLARED_BYTES))


def _check_tree(document: Any) -> None:
    """Refuse what is nested deeper than any document, which functions that call themselves for each level cannot take.

    Also whole numbers of more digits than Python writes, which TOML may give in hexadecimal.

    Raises
    ------
    RecursionError, ValueError
        As parsers do of what is too deep or too long for them.
    """
    level = [document]
    for _ in range(MAX_DEPTH):
        # Documents are wide rather than deep.
        inner: list[Any] = []
        for one in level:
            values = one.values() if isinstance(one, dict) else one if isinstance(one, list) else (one,)
            for value in values:
                if isinstance(value, dict | list):
                    inner.append(value)
                elif type(value) is int and not -_TOO_LONG < value < _TOO_LONG:
                    raise ValueError("a number of thousands of digits")
        if not inner:
            return
        level = inner
    raise RecursionError


def toml_document(where: str, text: str) -> dict[str, Any]:
    """Return the keys of a TOML text.

    Raises
    ------
    NotTomlError
        At ``where``, if it is no TOML.
    InputError
        If it is nested too deeply, or has a number of more digits than Python reads.
    """
    try:
        # What a key of many parts takes grows with their square.
        if _LONG_KEY.search(text):
            raise RecursionError
        document = tomllib.loads(text)
        _check_tree(document)
        return document
    except tomllib.TOMLDecodeError as error:
        raise NotTomlError(Fault(where, str(error), "TOML 1.0")) from error
    except RecursionError as error:
        raise InputError(Fault(where, "TOML that is nested too deeply", "a plain document")) from error
    except ValueError as error:
        # Python reads no whole number of more than 4,300 digits; underscores may stand among them.
        digits = re.search(r"0[xob][0-9a-fA-F_]{3000,}|[0-9_]{4300,}", text)
        line = 1 + text.count("\n", 0, digits.start()) if digits else 1
        found = f"a number of thousands of digits (at line {line})"
        raise InputError(Fault(where, found, "numbers of at most 18 digits")) from error


def validate(model: type[Model], data: Mapping[str, Any], source: str | Callable[[str], str]) -> Model:
    """Check data against a declared model and list every fault.

    Parameters
    ----------
    model : type
        A pydantic model.
    data : mapping
        What was read.
    source : str or callable
        The file's name, put in front of each key; or what gives the place of a key in what the user wrote.

    Raises
    ------
    InputError
        With one fault per violated key.
    """
    with faults_of(source, model):
        return model.model_validate(dict(data))


@contextmanager
def faults_of(source: str | Callable[[str], str], model: type[BaseModel]) -> Iterator[None]:
    """Turn what pydantic refuses into an :class:`~zcube.errors.InputError`; parameters as of :func:`validate`."""
    try:
        yield
    except ValidationError as error:
        raise InputError(_fault(detail, source, model) for detail in error.errors(include_url=False)) from error


def assign(data: dict[str, Any], assignments: Sequence[str], option: str = "--set") -> None:
    """Carry out ``KEY=VALUE`` assignments of a command line on what a file declares.

    Parameters
    ----------
    data : dict
        Changed in place.
    assignments : sequence of str
        Keys with dots for tables; values in TOML, a bare word being text.
    option : str
        What they stood behind, for faults.

    Raises
    ------
    InputError
        With every assignment that cannot be carried out.
    """
    faults = FaultList()
    for text in assignments:
        with faults:
            set_key(data, *_parse(text, option), option)
    faults.check()


def assigned(assignments: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Return by key with dots what assignments set, a table's keys one by one.

    Raises
    ------
    InputError
        If one is no assignment.
    """
    found: dict[str, Any] = {}
    waiting = [_parse(text, option) for text in reversed(assignments)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{inner}", part) for inner, part in value.items()]
        else:
            found[key] = value
    return found


def toml_value(value: Any) -> str:
    """Return JSON-ready data, no null among it, as a TOML value on one line, as assignments take it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value)


def _parse(assignment: str, option: str) -> tuple[str, Any]:
    found = _ASSIGNMENT.fullmatch(assignment)
    if found is None or not found["key"].strip():
        raise InputError(Fault(option, repr(assignment), "KEY=VALUE on one line, e.g. load.rate_per_s=40"))
    key, text = found["key"].strip(), found["value"]
    try:
        return key, toml_document(option, f"value = {text}")["value"]
    except NotTomlError:
        return key, text


def key_parts(key: str) -> list[str]:
    """Return the parts of a key with dots, without the quotes of those that have dots of their own."""
    return [part.strip("\"'") for part in _KEY_PART.findall(key)]


def set_key(data: dict[str, Any], key: str, value: Any, option: str = "--set") -> None:
    """Set a key with dots for tables, or take it out where the value is None; in place.

    A part with dots of its own stands in quotes, as in TOML: ``network."a.toml".routing``.

    Raises
    ------
    InputError
        If part of the key is no table.
    """
    *tables, last = key_parts(key)
    for table in tables:
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            raise InputError(Fault(f"{option} {key}", f"{table}, which is not a table", "a documented key"))
        data = inner
    if value is None:
        data.pop(last, None)
    else:
        data[last] = value


def _keys_at(model: type[BaseModel], tables: Sequence[str | int]) -> str:
    """Return what may stand in a table of a declared model, which its keys lead to."""
    for table in tables:
        field = model.model_fields.get(str(table))
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return "a key of the documented table"
        model = inner[0]
    return "one of the keys " + ", ".join(model.model_fields)


def _fault(detail: Any, source: str | Callable[[str], str], model: type[BaseModel]) -> Fault:
    key, kind = ".".join(str(part) for part in detail["loc"]), detail["type"]
    where = source(key) if callable(source) else f"{source}: {key}" if key else source
    if kind == "extra_forbidden":
        return Fault(where, "an unknown key", detail.get("ctx", {}).get("expected") or _keys_at(model, detail["loc"][:-1]))
    if kind == "missing":
        return Fault(where, "nothing", "this key")
    if kind == "literal_error":
        known = detail["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
        return Fault(where, short(detail["input"]), f"one of {known}")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("expected ").removeprefix("Input should be ")
    found = "keys that disagree" if isinstance(detail["input"], dict) else short(detail["input"])
    return Fault(where, found, message)


def short(value: Any) -> str:
    """Return a value as a fault shows it: its beginning where it is long."""
    try:
        text = repr(value)
    except ValueError:
        # Whole numbers are read in hexadecimal of any length, and written in decimal of 4,300 digits at most.
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
