"""``zcube new``: files to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def new_command(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")],
    scenario: Annotated[str, typer.Option(help="Bundled scenario to copy.")] = "glm51-pd-1024",
) -> None:
    """Copy a bundled scenario, its topologies and a machine room into a new folder, ready to be changed and run."""
    from zcube.errors import Fault, InputError
    from zcube.inputs import bundled_stems
    from zcube.plan.room import TEMPLATE as ROOM_TEMPLATE
    from zcube.scenario import copy_scenario

    if scenario not in bundled_stems("scenarios"):
        raise InputError(Fault(f"--scenario {scenario}", "no such scenario", "one of " + ", ".join(bundled_stems("scenarios"))))
    copy_scenario(scenario, folder, {"room.toml": ROOM_TEMPLATE})
    print(f"written: {folder}\nrun it: zcube compare {folder / 'scenario.toml'}", file=sys.stderr)
