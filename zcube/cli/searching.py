"""``zcube plan --search``: the search's options, and its state in the folder of results."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcube.cli.record import RunRecord
    from zcube.out_folder import OutFolder
    from zcube.plan.demand import Site
    from zcube.plan.search.searched import Searched
    from zcube.plan.search.state import SearchState
    from zcube.progress import Progress


def searched_fabrics(
    site: Site, given: Mapping[str, Any], folder: OutFolder | None, record: RunRecord, progress: Progress
) -> Searched:
    """Search, or go on with the search whose state lies in the folder of results.

    The folder holds a whole run record and the state after every generation, so that the run can be ended at any moment.

    Parameters
    ----------
    site : Site
        The demand with its files read.
    given : mapping
        Options of ``zcube plan``.
    folder : OutFolder, optional
        Where results go; without one nothing is kept.
    record : RunRecord
        Of the run.
    progress : Progress
        Told what is under way.
    """
    from zcube.errors import Fault, InputError
    from zcube.inputs import validate
    from zcube.out_folder import out_folder
    from zcube.plan.search.breeding import pymoo_version
    from zcube.plan.search.search import search
    from zcube.plan.search.searched import Searched
    from zcube.plan.search.settings import SearchSettings
    from zcube.plan.search.space import Space
    from zcube.plan.search.state import STATE_FILE, read_state

    if not given["search"]:
        wrong = next(f"--{key}" for key in ("population", "generations") if given[key] is not None)
        raise InputError(Fault(wrong, "no --search", "--search beside it"))
    keys = {key: given[key] for key in SearchSettings.model_fields if given[key] is not None}
    settings, version, state = (
        validate(SearchSettings, keys, lambda key: f"--{key}" if key else "--population"),
        pymoo_version(),
        None,
    )
    if folder is not None and (folder.path / STATE_FILE).is_file():
        state = read_state(folder.path / STATE_FILE, site.demand, settings, Space(site), version)
        print(f"going on after generation {state.generation} of {folder.path / STATE_FILE}", file=sys.stderr)

    def keep(reached: SearchState) -> None:
        if folder is not None:

            def fill(temporary: Path) -> None:
                (temporary / STATE_FILE).write_text(reached.to_json(), encoding="utf-8")

            out_folder(folder.path).write(fill, record.document(reached.demand, None, "demand"))

    return Searched(site, search(site, settings, state, keep, given["jobs"], progress))
