"""Write docs/scenarios.md from the declared models, so that keys, defaults and their meaning stand in one place only.

Run ``python docs/generate.py`` after changing a model; a test compares the file with what this prints.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from zcube.fabric.families import families
from zcube.fabric.spec import SwitchSpec
from zcube.scenario import Scenario

TARGET = Path(__file__).resolve().parent / "scenarios.md"

INTRODUCTION = """# Keys of scenario and topology files

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
    parts += ["### `[switch]`\n", *_table(SwitchSpec)]
    return "\n".join(parts)


def _nested(name: str, annotation: Any) -> list[str]:
    if not (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return []
    parts = [f"### `[{name}]`\n", *_table(annotation)]
    for inner, field in annotation.model_fields.items():
        parts += _nested(f"{name}.{inner}", field.annotation)
    return parts


def _table(model: type[BaseModel]) -> list[str]:
    lines = [
        inspect.cleandoc(model.__doc__ or "").replace("``", "`"),
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
        kind = kind.replace("typing.", "").replace("Literal", "one of ").replace("|", "or")
        lines.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
    return [*lines, ""]


def _plain(default: Any) -> str:
    return "table below" if isinstance(default, BaseModel) else f"`{default!r}`"


if __name__ == "__main__":
    TARGET.write_text(page())
