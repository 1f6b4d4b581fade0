"""``zcube report``: pages from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_PAGE = Path("zcube-report.html")


def report_command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Output folders of zcube compare.")],
    out: Annotated[Path, typer.Option(help="The page; a folder's own report.html is left as it is.")] = Path(
        "zcube-report.html"
    ),
) -> None:
    """Make a report again from what zcube compare stored, or put several runs side by side; nothing is simulated."""
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.errors import Fault, FaultList
    from zcube.report.page import is_page, write_page
    from zcube.report.rebuilt import rebuilt_page
    from zcube.report.stored import read_results

    faults, runs = FaultList(), {}
    target = Target("--out", out, (".html",), write_page, is_own=is_page)
    # A link is a fault of its own, whatever it leads to.
    places = {folder.absolute() if folder.is_symlink() else folder.resolve(): folder for folder in reversed(folders)}
    for place in reversed(places.values()):
        with faults:
            runs[place] = read_results(place)
    repeated = len(folders) - len(places)
    more = [Fault("FOLDER", f"{repeated} named more than once", "each folder once")] if repeated else []
    with faults:
        check_targets([target], more=more)
    faults.check()
    write_targets([target], rebuilt_page(runs))
