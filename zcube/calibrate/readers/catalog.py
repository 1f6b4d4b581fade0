"""Which reader a file is for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from zcube.calibrate.calibration import is_calibration
from zcube.calibrate.measurements import MAX_FILE_BYTES, Measurements, from_document, join
from zcube.calibrate.points import capped
from zcube.calibrate.readers import hccl_test, nccl_inspector, nccl_table, nccl_tests_json, nccl_tests_text
from zcube.calibrate.readers.options import ReadOptions
from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import read_bounded
from zcube.inputs import json_document

#: Name, test, reader; the first that recognises a file reads it. The whole text is tested: NCCL's log, an environment or keys
#: in another order may put pages before what tells a format.
READERS: tuple[tuple[str, Callable[[str], bool], Callable[[str, str, ReadOptions], Measurements]], ...] = (
    ("NCCL Inspector JSON", nccl_inspector.recognise, nccl_inspector.read),
    ("nccl-tests JSON", nccl_tests_json.recognise, nccl_tests_json.read),
    ("NCCL latency table", nccl_table.recognise, nccl_table.read),
    ("hccl_test text", hccl_test.recognise, hccl_test.read),
    ("nccl-tests text", nccl_tests_text.recognise, nccl_tests_text.read),
)


def read_measured(path: Path, options: ReadOptions | None = None) -> Measurements:
    """Read one file of measured runs, whichever format it has.

    Raises
    ------
    InputError
        If no reader knows the file, or with every fault that its reader found.
    """
    options = options or ReadOptions()
    text = read_bounded(path, MAX_FILE_BYTES)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if text.lstrip()[:1] == "{" and '"zcube_measurements"' in text:
        found = from_document(json_document(path, text), str(path))
        if options.path is not None:
            rows = [replace(row, path=options.path) for row in found.rows()]
            found = Measurements.of(rows, found.metadata, found.matrices, found.notes)
    else:
        reader = next((read for _, recognise, read in READERS if recognise(text)), None)
        if reader is None and is_calibration(path):
            found_here = "a calibration, which zcube calibrate fit wrote: what was fitted, not what was measured"
            raise InputError(Fault(str(path), found_here, "measurements here; the calibration behind --calibration"))
        if reader is None:
            known = ", ".join(["measurements of zcube calibrate run", *(name for name, _, _ in READERS)])
            raise InputError(Fault(str(path), "a file of an unknown or empty format", f"one of: {known}"))
        found = reader(text, str(path), options)
    metadata = found.metadata.model_copy(update={"source": path.name, "sha256": digest})
    return replace(found, metadata=metadata)


def read_files(paths: str | Path | Sequence[str | Path], options: ReadOptions | None = None) -> Measurements:
    """Read one file, or several as one.

    Raises
    ------
    InputError
        With the faults of all files, or if they come from different hardware.
    """
    parts: list[Measurements] = []
    gathered = FaultList()
    for path in [paths] if isinstance(paths, str | Path) else paths:
        with gathered:
            parts.append(read_measured(Path(path), options))
    if gathered.faults:
        raise InputError(capped(gathered.faults, "measurements"))
    return join(parts)
