"""The tidy table of a sweep: a row a run, a column a name, an override or a figure; the same bytes for the same runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.kept_runs import Done
from zcube.outputs import INFINITE
from zcube.sweep.runs import Run
from zcube.sweep.settings import SweepSettings

if TYPE_CHECKING:
    import pandas as pd

#: Columns before overrides, between these and figures, and behind them.
FIRST, BETWEEN, LAST = ("point", "scenario"), ("fabric", "seed", "status", "error"), ("hash",)
#: Of an override that has the name of a figure or of another column.
SET = "set."


def table_of(asked: SweepSettings, runs: Sequence[Run], done: Sequence[Done]) -> pd.DataFrame:
    """Return the table.

    Parameters
    ----------
    asked, runs, done
        The sweep, its runs in order, and what came of them.
    """
    import pandas as pd

    figures = list(dict.fromkeys(key for one in done for key in one.figures or {}))
    columns: dict[str, Any] = {
        "point": [run.case.point.number for run in runs],
        "scenario": [run.case.scenario_name for run in runs],
    }
    for key in asked.keys:
        columns[override_column(key, figures)] = _column([run.case.point.overrides.get(key) for run in runs])
    columns |= {
        "fabric": [run.fabric for run in runs],
        "seed": [run.seed for run in runs],
        "status": ["done" if one.error is None else "failed" for one in done],
        "error": [one.error for one in done],
    }
    for key in figures:
        columns[key] = _column([(one.figures or {}).get(key) for one in done])
    columns["hash"] = [run.key for run in runs]
    return pd.DataFrame(columns)


def override_column(key: str, figures: Sequence[str]) -> str:
    """Return the column of an override."""
    return SET + key if key in {*FIRST, *BETWEEN, *LAST, *figures} else key


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, columns by their types alone, so that equal tables are equal files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), path)


def _column(values: list[Any]) -> Any:
    """Return values of one type: whole numbers, numbers, truth values, or text, of which lists and tables are JSON."""
    import pandas as pd

    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pd.array(values, dtype="boolean")
    if all(_is_number(value) for value in known):
        if known and len(known) == len(values) and all(isinstance(value, int) for value in known):
            return pd.array(values, dtype="int64")
        return pd.array(
            [None if value is None else float("inf" if value == INFINITE else value) for value in values], "Float64"
        )
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pd.array(texts, dtype="object")


def _is_number(value: Any) -> bool:
    return value == INFINITE or (isinstance(value, int | float) and not isinstance(value, bool))
