"""Execute the notebooks and write them with their outputs, or check that they are shipped with what an execution gives.

    python notebooks/execute.py                     # all of them, each in a kernel of its own
    python notebooks/execute.py NAME.ipynb --check  # exit status 1 if a text output differs, or varies from run to run

Needs the extra ``notebooks``. A notebook runs in a temporary folder beside which the project's ``calibrations`` stand, as
they do beside ``notebooks``. What varies from run to run is left out of the file: times of execution, numbers of cells run by
hand, what a kernel says of itself, progress on stderr. Pictures are compared by being there, text by its letters.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
MOST_SECONDS, MOST_BYTES = 600, 600_000
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PICTURES = ("image/png", "image/svg+xml")


def executed(path: Path) -> Any:
    """Return a notebook as an execution from top to bottom leaves it, without what varies."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="zcube-notebook-") as place:
        here = Path(place) / "notebooks"
        here.mkdir()
        (Path(place) / "calibrations").symlink_to(FOLDER.parent / "calibrations")
        NotebookClient(notebook, timeout=MOST_SECONDS, kernel_name="python3", resources={"metadata": {"path": here}}).execute()
    return stripped(notebook)


def stripped(notebook: Any) -> Any:
    """Return a notebook without times, names of machines and progress; cells are numbered from the top."""
    notebook.metadata = nbformat.from_dict(METADATA)
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = nbformat.from_dict({}), f"cell-{number}"
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if "data" in output:
                output.metadata = nbformat.from_dict({})
                # A frame is shown once, as a table that a page shows too.
                if "text/html" in output.data or any(kind in output.data for kind in PICTURES):
                    output.data.pop("text/plain", None)
    return notebook


def texts(notebook: Any) -> list[str]:
    """Return every cell's source and outputs as lines; a picture is the word for it."""
    lines = []
    for cell in notebook.cells:
        lines += [f"[{cell.cell_type}]", *cell.source.splitlines()]
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            for kind in sorted(data):
                lines += [f"<{kind}>", *([] if kind in PICTURES else str(data[kind]).splitlines())]
    return lines


def faults(path: Path, fresh: Any) -> list[str]:
    """Return what is wrong with a notebook as it is shipped."""
    shipped, found = nbformat.read(path, as_version=4), []
    found += [line for line in difflib.unified_diff(texts(shipped), texts(fresh), "shipped", "executed", lineterm="", n=1)]
    if path.stat().st_size > MOST_BYTES:
        found.append(f"{path.stat().st_size:,} bytes; at most {MOST_BYTES:,}")
    if nbformat.writes(stripped(nbformat.from_dict(shipped))) != nbformat.writes(nbformat.read(path, as_version=4)):
        found.append("holds what varies from run to run: python notebooks/execute.py")
    return found


def main() -> int:
    """Execute what is named and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    asked = parser.parse_args()
    status = 0
    for path in asked.notebooks or sorted(FOLDER.glob("*.ipynb")):
        began_s = time.monotonic()
        fresh = executed(path)
        print(f"{path.name}: {time.monotonic() - began_s:.0f} s", flush=True)
        if not asked.check:
            nbformat.write(fresh, path)
        elif found := faults(path, fresh):
            print("\n".join([f"{path.name} differs:", *found]), file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
