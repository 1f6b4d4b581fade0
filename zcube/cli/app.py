"""The tree of commands."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import typer

from zcube import __version__
from zcube.cli.calibrate import check_command as check_calibration_command
from zcube.cli.calibrate import fit_command, read_command, run_command
from zcube.cli.compare import compare_command
from zcube.cli.cost import cost_command
from zcube.cli.demo import demo_command
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

app = typer.Typer(
    name="zcube",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Simulate, price and compare the networks of GPU clusters: spine-leaf (ROFT) against ZCube.",
)
app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("matrix")(matrix_command)
app.command("sweep")(sweep_command)
app.command("cost")(cost_command)
app.command("plan")(plan_command)
fabric_app = typer.Typer(help="Look at a fabric, draw, check, wire and attack it.", no_args_is_help=True, rich_markup_mode=None)
fabric_app.command("show")(show_command)
fabric_app.command("draw")(draw_command)
fabric_app.command("check")(check_command)
fabric_app.command("export")(export_command)
fabric_app.command("import")(import_command)
fabric_app.command("verify")(verify_command)
fabric_app.command("adversary")(adversary_command)
fabric_app.command("degrade")(degrade_command)
app.add_typer(fabric_app, name="fabric")
app.command("replay")(replay_command)
trace_app = typer.Typer(
    help="What an engine's GPUs send: generate, check, import, export, show.", no_args_is_help=True, rich_markup_mode=None
)
trace_app.command("generate")(generate_command)
trace_app.command("import")(import_trace_command)
trace_app.command("check")(check_trace_command)
trace_app.command("export")(export_trace_command)
trace_app.command("show")(show_trace_command)
app.add_typer(trace_app, name="trace")
transport_app = typer.Typer(
    help="Transports, the columns of zcube matrix: list, show, copy.", no_args_is_help=True, rich_markup_mode=None
)
transport_app.command("list")(list_transports_command)
transport_app.command("show")(show_transport_command)
transport_app.command("copy")(copy_transport_command)
app.add_typer(transport_app, name="transport")
calibrate_app = typer.Typer(
    help="Measure GPUs, fit the models' parameters, and test them.", no_args_is_help=True, rich_markup_mode=None
)
calibrate_app.command("run")(run_command)
calibrate_app.command("read")(read_command)
calibrate_app.command("fit")(fit_command)
calibrate_app.command("check")(check_calibration_command)
app.add_typer(calibrate_app, name="calibrate")
app.command("demo")(demo_command)
model_app = typer.Typer(help="Model cards: list, show, import a config.json.", no_args_is_help=True, rich_markup_mode=None)
model_app.command("list")(list_models_command)
model_app.command("show")(show_model_command)
model_app.command("import")(import_model_command)
app.add_typer(model_app, name="model")
app.command("new")(new_command)
app.command("warm")(warm_command)


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
def command() -> Any:
    """Return the root command, Click's or Typer's own by Typer's version; made once a process."""
    return typer.main.get_command(app)
