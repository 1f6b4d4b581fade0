"""Write docs/scenarios.md from the declared models, so that keys, defaults and their meaning stand in one place only.

Run ``python docs/generate.py`` after changing a model; a test compares the file with what this prints.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from zcube.fabric.families import families
from zcube.fabric.spec import NicSpec, SwitchSpec
from zcube.llm.schedules.options import EngineOptions
from zcube.network.packet.controls import BUILT_IN
from zcube.network.packet.settings import PacketSettings
from zcube.network.transports import Bundle
from zcube.plan.catalogue import FailureEntry, ModuleEntry, NicEntry, SwitchEntry
from zcube.plan.demand import Demand
from zcube.scenario import Scenario
from zcube.workload.generated_flows import PATTERNS

TARGET = Path(__file__).resolve().parent / "scenarios.md"

INTRODUCTION = """# Keys of scenario, topology, trace-option, demand and transport files

Both are TOML. Unknown keys are refused, and every fault of a file is listed at once. Any key of a scenario can be changed on
the command line: `--set load.rate_per_s=40`. Files named in a scenario lie relative to it. This page is generated from the
code by `docs/generate.py`.
"""


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, "## Scenario\n", *_table(Scenario)]
    for name, field in Scenario.model_fields.items():
        parts += _nested(name, field.annotation)
    parts.append("## Topology\n\nOne of these families, named under `family`.\n")
    for family, spec in families().items():
        parts += [f"### `{family}`\n", *_table(spec)]
    parts += ["### `[switch]`\n", *_table(SwitchSpec), "### `[nic]`\n", *_table(NicSpec)]
    parts += ["## Options of `zcube trace generate`\n", *_table(EngineOptions)]
    for name, field in EngineOptions.model_fields.items():
        parts += _nested(name, field.annotation)
    parts += ["## Demand of a plan\n", *_table(Demand), "### Catalogue\n"]
    for kind, entry in (("switch", SwitchEntry), ("nic", NicEntry), ("module", ModuleEntry)):
        parts += [f"#### `[{kind}.NAME]`\n", *_table(entry)]
    parts += ["#### `[failures.PART]`\n", *_table(FailureEntry)]
    parts += ["## Transport of a matrix\n", *_table(Bundle)]
    parts.append("## Transfers that `zcube matrix` makes\n\nKeys of `--pattern-set`.\n")
    for name, pattern in PATTERNS.items():
        parts += [f"### `{name}`\n", *_table(pattern)]
    return "\n".join(parts)


def _nested(name: str, annotation: Any) -> list[str]:
    # A table that may be missing is a union with None.
    annotation = next((part for part in get_args(annotation) if inspect.isclass(part) and part is not NoneType), annotation)
    if not (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return []
    parts = [f"### `[{name}]`\n", *_table(annotation)]
    for inner, field in annotation.model_fields.items():
        parts += _nested(f"{name}.{inner}", field.annotation)
    if annotation is PacketSettings:
        for control, settings in BUILT_IN.items():
            if settings.model_fields and control not in annotation.model_fields:
                parts += _nested(f"{name}.{control}", settings)
    return parts


def _table(model: type[BaseModel]) -> list[str]:
    introduction, meanings = _documented(model)
    lines = [
        introduction,
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        default = "(required)" if field.default is PydanticUndefined else _plain(field.default)
        kind = (
            str(field.annotation)
            if "[" in str(field.annotation)
            else getattr(field.annotation, "__name__", str(field.annotation))
        )
        kind = re.sub(r"Annotated\[(\w+), .*\]", r"\1]", kind)
        kind = re.sub(r"zcube\.(?:\w+\.)*", "", re.sub(r"Optional\[(.*)\]$", r"\1 or None", kind.replace("typing.", "")))
        kind = kind.replace("Literal", "one of ").replace("|", "or")
        lines.append(f"| `{name}` | {kind} | {default} | {field.description or meanings.get(name, '')} |")
    return [*lines, ""]


def _documented(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return what a model's docstring says of the whole, and of each key in its section of attributes."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", inspect.cleandoc(model.__doc__ or "").replace("``", "`"))
    introduction, _, attributes = text.partition("\n\nAttributes\n----------\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if line.startswith(" "):
            meanings |= {name: f"{meanings.get(name, '')} {line.strip()}".strip() for name in names}
        else:
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
    return introduction, meanings


def _plain(default: Any) -> str:
    return "table below" if isinstance(default, BaseModel) else f"`{default!r}`"


if __name__ == "__main__":
    TARGET.write_text(page())
