"""The option of verbs that do several runs at a time."""

from __future__ import annotations

import typer

from zcube.memory import MOST_JOBS

JOBS = typer.Option(
    min=1,
    max=MOST_JOBS,
    help="Runs at a time, in processes of their own; 1: in this one; default: one a processor, if it pays.",
)
