"""Reading a folder of results of which one file was changed, and the record so that the file counts as unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from zcube.fuzz.sound import results
from zcube.out_folder import RUN_FILE, recorded_files


def read_record(path: Path) -> object:
    """Read a changed record."""
    from zcube.scenario import load_scenario

    recorded_files(_folder(path))
    return load_scenario(str(path))


def read_stored(path: Path) -> object:
    """Read the results beside a changed file."""
    from zcube.report.stored import read_results

    return read_results(_sealed(path))


def read_page(path: Path) -> object:
    """Write the page of the results beside a changed file anew."""
    from zcube.report.rebuilt import rebuilt_page
    from zcube.report.stored import read_results

    folder = _sealed(path)
    return rebuilt_page({folder: read_results(folder)})


def _folder(path: Path) -> Path:
    """Return the folder of a file, with the rest of the results in it."""
    for file in results().iterdir():
        if file.name != path.name and not (path.parent / file.name).exists():
            shutil.copy2(file, path.parent)
    return path.parent


def _sealed(path: Path) -> Path:
    from zcube.workplace import digest

    folder = _folder(path)
    record = json.loads((results() / RUN_FILE).read_text(encoding="utf-8"))
    record["files"][path.name] = digest(path)
    (folder / RUN_FILE).write_text(json.dumps(record), encoding="utf-8")
    return folder
