"""Where NVIDIA aiconfigurator's measured tables are read from: a folder of CSV extracts, or the installed PyPI package.

Of the package (``aiconfigurator-core``, Apache-2.0) only the data files are opened; none of its code is imported.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError
from zcube.input_files import check_table, columns_once, csv_header, parquet_file, read_bounded

#: Largest table read, in bytes and in rows; the published ones stay below 3 MB and 300,000 rows.
MAX_TABLE_BYTES = 64 << 20
MAX_TABLE_ROWS = 4 << 20
#: What the columns of one may unpack to.
MAX_UNPACKED_BYTES = 1 << 30
#: The package and its announced successor, of which PyPI has a placeholder without tables so far; the first with tables counts.
PACKAGES, EXTRA = ("aiconfigurator-core", "aisimulate"), "measured"
_DATA = ("aiconfigurator_core/systems/data", "aisimulate/systems/data", "aisimulate_core/systems/data")
#: Devices whose tables lie under another name than their own or their own with ``_sxm``.
SYSTEMS = {"gb200-nvl72": "gb200", "gb300-nvl72": "gb300"}
#: Rows to keep: column -> value.
Rows = Mapping[str, str | int]


@dataclass(frozen=True)
class TableName:
    """How a table is called: suffix of the CSV file, and folders and file in the package."""

    csv: str
    family: str
    framework: str
    file: str


TABLES = {
    "context": TableName("glm5_dsa_context", "sparse_attention", "sglang", "dsa_context_module_perf"),
    "generation": TableName("glm5_dsa_generation", "sparse_attention", "sglang", "dsa_generation_module_perf"),
    "moe": TableName("glm5_moe", "moe", "sglang", "moe_perf"),
    "moe_deepep_normal": TableName("wideep_context_moe", "moe", "sglang", "wideep_context_moe_perf"),
    "moe_deepep_low_latency": TableName("wideep_generation_moe", "moe", "sglang", "wideep_generation_moe_perf"),
    "context_attention": TableName("context_attention", "attention", "sglang", "context_attention_perf"),
    "generation_attention": TableName("generation_attention", "attention", "sglang", "generation_attention_perf"),
    "latent_context": TableName("wideep_context_mla", "mla", "sglang", "wideep_context_mla_perf"),
    "latent_generation": TableName("wideep_generation_mla", "mla", "sglang", "wideep_generation_mla_perf"),
    "linear": TableName("gdn", "linear_attention", "sglang", "gdn_perf"),
    "gemm": TableName("gemm", "gemm", "sglang", "gemm_perf"),
    "all_reduce": TableName("custom_allreduce", "comm", "sglang", "custom_allreduce_perf"),
    "nccl": TableName("nccl_*", "comm", "nccl", "nccl_perf"),
    "deepep_normal": TableName("deepep_normal", "comm", "sglang", "wideep_deepep_normal_perf"),
    "deepep_low_latency": TableName("deepep_ll", "comm", "sglang", "wideep_deepep_ll_perf"),
}
#: Columns that hold names.
_NAMES = frozenset(("model", "kv_cache_dtype", "op_name", "moe_dtype", "distribution", "kernel_source"))


@dataclass
class CsvSource:
    """CSV files ``<device>_sxm_<table>.csv`` of one folder; the GLM-5 ones need not have columns that name the model.

    Attributes
    ----------
    folder : Path
        Where they lie.
    read : dict
        Tables read so far, with the file and the start of its SHA-256.
    """

    folder: Path
    read: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return the folder."""
        return f"aiconfigurator CSV tables in {self.folder}"

    def describe(self) -> str:
        """Return the folder; files carry no version."""
        return self.label

    def find(self, table: str, device: str) -> Path | None:
        """Return the file of a table, the newest by the version in its name; None if there is none."""
        found = sorted(self.folder.glob(f"{device}_sxm_{TABLES[table].csv}.csv"), key=lambda path: _version(path.stem))
        return found[-1] if found else None

    def frame(self, table: str, device: str, columns: Iterable[str], rows: Rows) -> tuple[Any, Path]:
        """Return the rows that match; a row filter on a column the extract has left out is passed over.

        Raises
        ------
        InputError
            If the file is missing, too large, not CSV or lacks one of ``columns``.
        """
        import pandas as pd

        columns = tuple(columns)
        path = self.find(table, device) or self.folder / f"{device}_sxm_{TABLES[table].csv}.csv"
        text = read_bounded(path, MAX_TABLE_BYTES)
        try:
            frame = pd.read_csv(io.StringIO(text), nrows=MAX_TABLE_ROWS)
        except (ValueError, OverflowError) as error:
            raise InputError(Fault(str(path), str(error)[:200], "a CSV table")) from error
        # Of columns of one name pandas renames all but the first.
        columns_once(f"{path}: header", csv_header(text.lstrip("\r\n")), columns)
        _check_columns(path, columns, list(frame.columns))
        names = _NAMES.union(column for column, value in rows.items() if isinstance(value, str))
        _check_numbers(path, [name for name in columns if name not in names], frame)
        for column, value in rows.items():
            if column in frame.columns:
                frame = frame[frame[column] == value]
        self.read[table] = f"{path.name} sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return frame, path


@dataclass
class PackageSource:
    """The Parquet tables of the installed package, the newest version of each.

    Attributes
    ----------
    folder : Path
        The package's data folder.
    version : str
        The package's version.
    read : dict
        Tables read so far, with the version of the engine or library that was measured.
    package : str
        One of :data:`PACKAGES`.
    """

    folder: Path
    version: str
    read: dict[str, str] = field(default_factory=dict)
    package: str = PACKAGES[0]

    @property
    def label(self) -> str:
        """Return package and version."""
        return f"{self.package} {self.version}"

    def describe(self) -> str:
        """Return package, version, and the engine and library versions of the tables read."""
        return f"{self.label} ({', '.join(sorted(set(self.read.values())))})"

    def find(self, table: str, device: str) -> Path | None:
        """Return the newest version's file of a table, None if there is none."""
        name = TABLES[table]
        system = self.folder / f"{device}_sxm"
        parent = (system if system.is_dir() else self.folder / SYSTEMS.get(device, device)) / name.family / name.framework
        found = sorted(parent.glob(f"*/{name.file}.parquet"), key=lambda path: _version(path.parent.name))
        return found[-1] if found else None

    def frame(self, table: str, device: str, columns: Iterable[str], rows: Rows) -> tuple[Any, Path]:
        """Return the rows that match.

        Raises
        ------
        InputError
            If the package has no such table, or it is too large, not Parquet or lacks a column.
        """
        import pyarrow.parquet as pq

        path = self.find(table, device)
        if path is None:
            raise InputError(Fault(f"{self.label}: {device}", f"no {table} table", "a device with measured tables"))
        wanted = tuple(dict.fromkeys((*columns, *rows)))
        with parquet_file(path, MAX_TABLE_BYTES, "a Parquet table") as file:
            _check_columns(path, wanted, file.schema_arrow.names)
            check_table(path, file, MAX_TABLE_ROWS, MAX_UNPACKED_BYTES)
            frame = pq.read_table(path, columns=list(wanted), filters=[(key, "==", value) for key, value in rows.items()])
        framework = {"sglang": "SGLang", "nccl": "NCCL"}[TABLES[table].framework]
        self.read[table] = f"{framework} {path.parent.name}"
        return frame.to_pandas(), path


def open_source(folder: Path | None) -> CsvSource | PackageSource:
    """Return the CSV tables of a folder, or without a folder those of the installed package.

    Raises
    ------
    InputError
        If there is no such folder, or the package is not installed; the fault names the extra that installs it.
    """
    if folder is not None:
        if not folder.is_dir():
            raise InputError(Fault(str(folder), "no such folder", "a folder of aiconfigurator's CSV tables"))
        return CsvSource(folder)
    found = []
    for name in PACKAGES:
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        for data in (Path(str(package.locate_file(folder))) for folder in _DATA):
            if data.is_dir():
                return PackageSource(data, package.version, package=name)
        found.append(f"{name} {package.version}")
    if found:
        raise InputError(Fault(f"package {', '.join(found)}", f"no folder {' or '.join(_DATA)}", "a version that has it"))
    hint = f"the extra {EXTRA} (pip install 'zcube[{EXTRA}]'), or a folder of CSV tables"
    raise InputError(Fault(f"package {PACKAGES[0]}", "not installed", hint))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _check_numbers(path: Path, needed: Sequence[str], frame: Any) -> None:
    """Refuse columns that hold anything but numbers."""
    wrong = [name for name in needed if len(frame) and frame[name].dtype.kind not in "iuf"]
    if wrong:
        raise InputError(
            Fault(f"{path}: {name}", "cells that are no numbers", f"numbers in the columns {', '.join(needed)}")
            for name in wrong
        )


def _check_columns(path: Path, needed: Iterable[str], found: Sequence[str]) -> None:
    present = columns_once(f"{path}: schema", found, dict.fromkeys(needed))
    missing = [column for column in dict.fromkeys(needed) if column not in present]
    if missing:
        raise InputError(Fault(f"{path}: {column}", "nothing", "this column") for column in missing)
