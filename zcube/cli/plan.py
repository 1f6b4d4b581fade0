"""``zcube plan``: from a demand to a fabric."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def plan_command(
    gpus: Annotated[int | None, typer.Option(help="GPUs in the cluster.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Find the fabrics that meet a demand and say which, at what cost, and why not the others."""
    from zcube.inputs import validate
    from zcube.outputs import to_json
    from zcube.plan.demand import Demand

    demand = validate(Demand, {} if gpus is None else {"gpus": gpus}, "--")
    sys.stdout.write(to_json(demand.model_dump(mode="json")))
