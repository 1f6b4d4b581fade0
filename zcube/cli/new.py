"""``zcube new``: files to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli import completion


def new_command(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")],
    scenario: Annotated[
        str, typer.Option(help="Bundled scenario to copy.", autocompletion=completion.scenarios)
    ] = "glm51-pd-1024",
) -> None:
    """Copy a bundled scenario, its topologies and the planner's files into a new folder, ready to be changed and run."""
    from zcube.errors import Fault, InputError
    from zcube.inputs import bundled_stems
    from zcube.plan.catalogue import BUNDLED as CATALOGUE
    from zcube.plan.demand import TEMPLATE as DEMAND
    from zcube.plan.room import TEMPLATE as ROOM
    from zcube.scenario import copy_scenario

    if scenario not in bundled_stems("scenarios"):
        raise InputError(Fault(f"--scenario {scenario}", "no such scenario", "one of " + ", ".join(bundled_stems("scenarios"))))
    copy_scenario(scenario, folder, {"catalogue.toml": CATALOGUE, "demand.toml": DEMAND, "room.toml": ROOM})
    print(f"written: {folder}\nrun it: zcube compare {folder / 'scenario.toml'}", file=sys.stderr)
    print(f"or plan: zcube plan {folder / 'demand.toml'}", file=sys.stderr)
