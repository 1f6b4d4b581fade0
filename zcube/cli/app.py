"""The tree of commands."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cache
from inspect import getdoc
from typing import Annotated, Any

import typer

from zcube import __version__
from zcube.cli.calibrate import check_command as check_calibration_command
from zcube.cli.calibrate import fit_command, read_command, run_command
from zcube.cli.compare import compare_command
from zcube.cli.cost import cost_command
from zcube.cli.demo import demo_command
from zcube.cli.device import list_command as list_devices_command
from zcube.cli.device import show_command as show_device_command
from zcube.cli.fabric import adversary_command, check_command, degrade_command, draw_command, show_command
from zcube.cli.matrix import matrix_command
from zcube.cli.model import import_command as import_model_command
from zcube.cli.model import list_command as list_models_command
from zcube.cli.model import show_command as show_model_command
from zcube.cli.new import new_command
from zcube.cli.plan import plan_command
from zcube.cli.replay import replay_command
from zcube.cli.report import report_command
from zcube.cli.sweep import sweep_command
from zcube.cli.trace import check_command as check_trace_command
from zcube.cli.trace import export_command as export_trace_command
from zcube.cli.trace import generate_command
from zcube.cli.trace import import_command as import_trace_command
from zcube.cli.trace import show_command as show_trace_command
from zcube.cli.transport import copy_command as copy_transport_command
from zcube.cli.transport import list_command as list_transports_command
from zcube.cli.transport import show_command as show_transport_command
from zcube.cli.warm import warm_command
from zcube.cli.wiring import export_command, import_command, verify_command


def _example(command: str) -> str:
    """Return the end of a help text; the mark keeps the line whole."""
    return f"\b\nExample: {command}"


app = typer.Typer(
    name="zcube",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Simulate, price and compare the networks of GPU clusters: spine-leaf (ROFT) against ZCube.",
    epilog=_example("zcube compare glm51-pd-256 --set requests.count=900"),
)


def _group(name: str, told: str, example: str) -> typer.Typer:
    """Return a group of verbs, which the program has."""
    group = typer.Typer(help=told, no_args_is_help=True, epilog=_example(example), rich_markup_mode=None)
    app.add_typer(group, name=name)
    return group


app.command("compare", epilog=_example("zcube compare glm51-pd-1024 --set load.rate_per_s=30 --seeds 5"))(compare_command)
app.command("report", epilog=_example("zcube report zcube-out/zai-2026 other-run --out both.html"))(report_command)
app.command(
    "matrix", epilog=_example("zcube matrix kv-funnel --fabrics roft-256,zcube-256 --transports roce-2023,spectrum-x-2025")
)(matrix_command)
app.command("sweep", epilog=_example("zcube sweep nic-rate-and-concurrency --jobs 2"))(sweep_command)
app.command("cost", epilog=_example("zcube cost roft-1024 zcube-1024"))(cost_command)
app.command("plan", epilog=_example("zcube plan --gpus 1024 --nic 400 --switch 25.6T"))(plan_command)
fabric_app = _group("fabric", "Look at a fabric, draw, check, wire and attack it.", "zcube fabric show zcube-n64")
fabric_app.command("show", epilog=_example("zcube fabric show zcube-n64 --json"))(show_command)
fabric_app.command("draw", epilog=_example("zcube fabric draw roft-1024 --out roft.svg"))(draw_command)
fabric_app.command("check", epilog=_example("zcube fabric check zcube-1024 --fail switch:A3"))(check_command)
fabric_app.command("export", epilog=_example("zcube fabric export zcube-1024 --format netbox --out cables.csv"))(export_command)
fabric_app.command("import", epilog=_example("zcube fabric import simai.txt mine.toml --switch-ports 128"))(import_command)
fabric_app.command("verify", epilog=_example("zcube fabric verify zcube-32 found.dot --corrected corrected.csv"))(
    verify_command
)
fabric_app.command("adversary", epilog=_example("zcube fabric adversary zcube-256 --segment 64"))(adversary_command)
fabric_app.command("degrade", epilog=_example("zcube fabric degrade zcube-n64@switch:A0 roft-4096@switch:leaf0"))(
    degrade_command
)
app.command("replay", epilog=_example("zcube replay flows.csv --fabric zcube-1024 --out done.csv"))(replay_command)
trace_app = _group("trace", "What an engine's GPUs send: generate, check, import, export, show.", "zcube trace show ep.parquet")
trace_app.command("generate", epilog=_example("zcube trace generate --engine sglang --prefill-nodes 2 --out ep.parquet"))(
    generate_command
)
trace_app.command("import", epilog=_example("zcube trace import nccl.host0.log nccl.host1.log --out job.jsonl"))(
    import_trace_command
)
trace_app.command("check", epilog=_example("zcube trace check nccl.host0.log nccl.host1.log"))(check_trace_command)
trace_app.command("export", epilog=_example("zcube trace export ep.parquet --out ep.goal"))(export_trace_command)
trace_app.command("show", epilog=_example("zcube trace show ep.parquet --picture ep.png"))(show_trace_command)
transport_app = _group("transport", "Transports, the columns of zcube matrix: list, show, copy.", "zcube transport list")
transport_app.command("list", epilog=_example("zcube transport list --json"))(list_transports_command)
transport_app.command("show", epilog=_example("zcube transport show spray+dcqcn"))(show_transport_command)
transport_app.command("copy", epilog=_example("zcube transport copy roce-2023 mine.toml"))(copy_transport_command)
calibrate_app = _group(
    "calibrate", "Measure GPUs, fit the models' parameters, and test them.", "zcube calibrate fit nccl-tests.txt --path nvlink"
)
calibrate_app.command("run", epilog=_example("zcube calibrate run --sizes 1K-1G --out runs.json"))(run_command)
calibrate_app.command("read", epilog=_example("zcube calibrate read nccl-tests.txt --path nvlink --out runs.json"))(
    read_command
)
calibrate_app.command("fit", epilog=_example("zcube calibrate fit nccl-tests.txt --path nvlink --out calibration.json"))(
    fit_command
)
calibrate_app.command(
    "check", epilog=_example("zcube calibrate check nccl-tests-later.txt --path nvlink --calibration calibration.json")
)(check_calibration_command)
app.command("demo", epilog=_example("zcube demo samples --seed 7"))(demo_command)
model_app = _group("model", "Model cards: list, show, import a config.json.", "zcube model list")
model_app.command("list", epilog=_example("zcube model list --json"))(list_models_command)
model_app.command("show", epilog=_example("zcube model show glm-5.1"))(show_model_command)
model_app.command("import", epilog=_example("zcube model import config.json --out card.toml"))(import_model_command)
device_app = _group("device", "Device cards: list, show.", "zcube device list")
device_app.command("list", epilog=_example("zcube device list --json"))(list_devices_command)
device_app.command("show", epilog=_example("zcube device show gb200-nvl72"))(show_device_command)
app.command("new", epilog=_example("zcube new my-cluster --scenario glm51-pd-256"))(new_command)
app.command("warm", epilog=_example("zcube warm"))(warm_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"zcube {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error was raised.")] = False,
) -> None:
    """Hold the options that stand before a verb; ``--debug`` is taken by the caller, anywhere."""


@cache
def command(*verb: str) -> Any:
    """Return the root command, Click's or Typer's own by Typer's version; made once a process.

    Parameters
    ----------
    *verb : str
        Words that name a verb, which the command then has alone: a tenth of the time that all of them take. Default: all.
    """
    return typer.main.get_command(_with_one(app, verb) if verb else app)


def verb_of(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the words that name the verb which arguments begin with; none where they do not begin with one."""
    groups = {found.name: found.typer_instance for found in app.registered_groups}
    within = groups.get(arguments[0]) if arguments else None
    words = tuple(arguments[: 1 if within is None else 2])
    named = [found.name for found in (within or app).registered_commands]
    return words if words and words[-1] in named else ()


@cache
def _listing() -> Any:
    """Return the root command whose verbs have a help text and no options, which takes a fifth of the time of all."""
    return typer.main.get_command(_without_options(app))


def command_for(arguments: Sequence[str]) -> Any:
    """Return the root command with as much of its verbs as arguments need."""
    if verb := verb_of(arguments):
        return command(*verb)
    *before, last = arguments or [""]
    is_listed = last == "--help" and before in ([], *([group.name] for group in app.registered_groups))
    return _listing() if is_listed else command()


def _without_options(group: typer.Typer) -> typer.Typer:
    """Return a group whose verbs do nothing."""
    found = copy(group)
    found.registered_commands = [copy(verb) for verb in group.registered_commands]
    for verb in found.registered_commands:
        verb.help, verb.callback = getdoc(verb.callback), lambda: None
    found.registered_groups = [copy(inner) for inner in group.registered_groups]
    for inner in found.registered_groups:
        assert inner.typer_instance is not None
        inner.typer_instance = _without_options(inner.typer_instance)
    return found


def _with_one(group: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """Return a group as it is with one verb, or one group with one verb."""
    found = copy(group)
    found.registered_commands = [verb for verb in group.registered_commands if verb.name == words[0]]
    found.registered_groups = [copy(inner) for inner in group.registered_groups if inner.name == words[0]]
    for inner in found.registered_groups:
        assert inner.typer_instance is not None
        inner.typer_instance = _with_one(inner.typer_instance, words[1:])
    return found
