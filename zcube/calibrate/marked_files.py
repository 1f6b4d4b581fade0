"""JSON files of one value that say by a mark what they hold, e.g. ``"zcube_tiles": true``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from zcube.calibrate.measurements import MAX_FILE_BYTES
from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import json_document, validate
from zcube.outputs import to_json, write_file

Model = TypeVar("Model", bound=BaseModel)


def is_marked(path: Path, mark: str) -> bool:
    """Return whether a file bears a mark; unreadable files do not."""
    try:
        return _bears(json_document(path, read_bounded(path, MAX_FILE_BYTES)), mark)
    except InputError:
        return False


def read_marked(path: Path, model: type[Model], mark: str, holds: str) -> Model:
    """Read a file that bears a mark.

    Parameters
    ----------
    path : Path
        The file.
    model : type
        What its document is validated as.
    mark : str
        Key that stands in it with the value true.
    holds : str
        What such a file holds, for the message where it does not.

    Raises
    ------
    InputError
        With every fault of the file, or if it bears no mark.
    """
    document = json_document(path, read_bounded(path, MAX_FILE_BYTES))
    if not _bears(document, mark):
        raise InputError(Fault(path.name, f"no file of {holds}", f'an object with "{mark}": true'))
    return validate(model, document, path.name)


def write_model(value: BaseModel, path: Path) -> None:
    """Write a value as JSON; whole or not at all."""
    text = to_json(value.model_dump(mode="json"))
    write_file(path, lambda place: place.write_text(text, encoding="utf-8"))


def _bears(document: Any, mark: str) -> bool:
    return isinstance(document, dict) and document.get(mark) is True
