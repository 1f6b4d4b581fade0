"""``zcube plan``: from a demand to a fabric."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.jobs_option import JOBS
from zcube.cli.json_option import JsonOption

#: Options, and the argument, that only a plan of one fabric takes, and only one from a demand.
ONE_FABRIC = ("to_gpus", "to", "to_set", "nodes", "wire", "wire_set", "failures")
FROM_DEMAND: tuple[str, ...] = (
    "demand",
    "gpus",
    "gpus_per_server",
    "nic",
    "switch",
    "max_oversubscription",
    "budget_usd",
    "max_power_w",
)
FROM_DEMAND += ("growth", "catalogue", "power_book", "optics", "families", "objectives", "search", "population", "generations")


def _check_kind(given: Mapping[str, Any]) -> None:
    """Refuse options that the kind of plan asked for would leave unread."""
    from zcube.errors import Fault, InputError

    unread, expected = (ONE_FABRIC, "--from FABRIC") if given["from_"] is None else (FROM_DEMAND, "no --from")
    names = {key: "DEMAND" if key == "demand" else f"--{key.replace('_', '-')}" for key in unread if given[key]}
    if names:
        raise InputError([Fault(name, str(given[key])[:80], expected) for key, name in names.items()])


def plan_command(
    demand: Annotated[str | None, typer.Argument(help="TOML file with the keys of a demand; options come before it.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs in the cluster.")] = None,
    gpus_per_server: Annotated[str | None, typer.Option(help="GPUs of a server.")] = None,
    nic: Annotated[str | None, typer.Option(help="Line rate of a GPU in Gb/s, or a NIC of the catalogue.")] = None,
    switch: Annotated[str | None, typer.Option(help="Switches of the catalogue, parted by commas.")] = None,
    max_oversubscription: Annotated[str | None, typer.Option(help="Most capacity down per capacity up of a leaf.")] = None,
    budget_usd: Annotated[str | None, typer.Option(help="Most that the network may cost.")] = None,
    max_power_w: Annotated[str | None, typer.Option(help="Most that the network may draw.")] = None,
    growth: Annotated[str | None, typer.Option(help="GPUs of later stages, parted by commas.")] = None,
    rooms: Annotated[str | None, typer.Option(help="Description of the machine room.")] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Scenario for the fabrics on the front, or with --from the failures, to be simulated on.",
            autocompletion=completion.scenarios,
        ),
    ] = None,
    catalogue: Annotated[str | None, typer.Option(help="Switches, NICs and modules beside the bundled ones.")] = None,
    price_book: Annotated[
        str | None, typer.Option(help="Price book by name or file.", autocompletion=completion.price_books)
    ] = None,
    power_book: Annotated[str | None, typer.Option(help="Power of what the catalogue gives none of.")] = None,
    optics: Annotated[
        str | None,
        typer.Option(
            help="Rule by which links are copper: paper, all-optical, by-length.",
            autocompletion=completion.one_of(*completion.OPTICS_RULES),
        ),
    ] = None,
    families: Annotated[str | None, typer.Option(help="Families tried, parted by commas; default: all.")] = None,
    objectives: Annotated[
        str | None,
        typer.Option(help="What decides, parted by commas; docs/plan.md lists them.", autocompletion=completion.listed_metrics),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Of random permutations, hashes and failures.")] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Fabric that stands: plan its growth, room, placement and failures instead.",
            autocompletion=completion.fabrics,
        ),
    ] = None,
    to_gpus: Annotated[str | None, typer.Option(help="With --from: GPUs of each stage, parted by commas.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="With --from: a stage as a topology; once for each.", autocompletion=completion.fabrics),
    ] = None,
    to_set: Annotated[list[str] | None, typer.Option(help="With --to-gpus: KEY=VALUE of the larger topologies.")] = None,
    names: Annotated[
        str, typer.Option(help="With --from: who may become another of the larger fabric: all, switches or planned (none).")
    ] = "all",
    nodes: Annotated[str | None, typer.Option(help="With --from: prefill and decode nodes to seat, e.g. 64+64.")] = None,
    rank_map: Annotated[str, typer.Option(help="With --nodes: which GPU sends to which.")] = "cp8-dp8",
    wire: Annotated[
        str | None, typer.Option(help="With --from: find NIC cabling for traffic: funnel, a TOML file, or listed transfers.")
    ] = None,
    wire_set: Annotated[list[str] | None, typer.Option(help="With --wire: KEY=VALUE, keys in docs/searching.md.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="With --from: judge single and double failures.")] = False,
    search: Annotated[bool, typer.Option("--search", help="Search for fabrics that no family has, by NSGA-II.")] = False,
    population: Annotated[str | None, typer.Option(help="With --search: genomes that live at a time; default 64.")] = None,
    generations: Annotated[str | None, typer.Option(help="With --search: times that they breed; default 40.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for plan.json, plan.html and topology files.")] = None,
    jobs: Annotated[int | None, JOBS] = None,
    json: JsonOption = False,
) -> None:
    """Find the fabrics that meet a demand: which, at what cost, and why not the others; exit 1 where none does."""
    given = dict(locals())
    _check_kind(given)
    if from_ is not None:
        from zcube.cli.standing import plan_standing

        plan_standing(given)
        return
    from zcube.cli.progress import RunProgress
    from zcube.cli.record import RunRecord
    from zcube.out_folder import out_folder
    from zcube.outputs import to_json
    from zcube.plan.candidates import generators
    from zcube.plan.demand import Demand, load_demand
    from zcube.plan.plan import plan
    from zcube.warm import KernelsAhead, needed_groups

    record = RunRecord()
    options = {key: value for key, value in given.items() if key in Demand.model_fields}
    site = load_demand(demand, options, tuple(generators()))
    folder = None if out is None else out_folder(out)
    searched = None
    with KernelsAhead(needed_groups("flow")) as ahead, RunProgress() as progress:
        ahead.wait(progress)
        if search or population or generations:
            from zcube.cli.searching import searched_fabrics

            searched = searched_fabrics(site, given, folder, record, progress)
        found = plan(site, progress, searched, jobs)
    document = found.document()
    if json:
        sys.stdout.write(to_json(document))
    else:
        from zcube.report.plan_table import plan_table

        sys.stdout.write(plan_table(document))
    if folder is not None:
        from zcube.report.plan_folder import write_plan

        state, declared = None if searched is None else searched.state, record.document(document["demand"], None, "demand")
        with RunProgress() as progress:
            written = write_plan(found, declared, out_folder(folder.path), progress, state)
        print(f"written: {written}", file=sys.stderr)
    if not found.met:
        raise typer.Exit(1)
