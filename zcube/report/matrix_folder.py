"""The output folder of a matrix: cells, document, table, pictures and page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.matrix.matrix import STORE_FILE
from zcube.outputs import to_json
from zcube.progress import Progress

if TYPE_CHECKING:
    from zcube.out_folder import OutFolder

DOCUMENT_FILE, PAGE_FILE, PICTURE = "matrix.json", "matrix.html", "matrix"


def write_matrix(
    document: Mapping[str, Any],
    cells: Callable[[Path], None],
    run_record: dict[str, Any],
    folder: OutFolder,
    progress: Progress,
) -> Path:
    """Write everything a matrix gave, as a whole or not at all, and return where.

    ``run.json`` (provenance), ``cells.jsonl`` (every cell that is known, what a further run goes on from), ``matrix.json``
    (byte-identical for equal inputs), ``matrix.svg`` and ``matrix.png`` (the heat maps), ``matrix.html`` (all for readers).
    """
    from zcube.report.matrix_page import matrix_page
    from zcube.report.matrix_picture import plot_matrix
    from zcube.report.picture import save_both

    def fill(temporary: Path) -> None:
        cells(temporary)
        (temporary / DOCUMENT_FILE).write_text(to_json(document), encoding="utf-8", newline="\n")
        progress("drawing", 0, 0, "")
        save_both(plot_matrix(document), temporary, PICTURE)
        (temporary / PAGE_FILE).write_text(matrix_page(document), encoding="utf-8", newline="\n")

    return folder.write(fill, run_record, grows=[STORE_FILE])
