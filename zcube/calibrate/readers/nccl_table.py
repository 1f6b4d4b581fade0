"""Tables of NCCL latencies as NVIDIA aiconfigurator keeps them: one line per type, number of GPUs and size.

Columns ``device, op_name, nccl_dtype, num_gpus, message_size, latency``, and ``version``, that of NCCL; others are ignored.
``latency`` is in milliseconds. ``message_size`` counts elements of ``nccl_dtype``, and elements times their bytes is the size
of nccl-tests: lines of equal bytes but different types have equal times where nothing is reduced, and read as the total buffer
the largest messages among H200 give bus bandwidths of 235 to 340 GB/s, below NVLink's 450 GB/s, whereas an all-gather of eight
read as one rank's part would give 2.7 TB/s. The tables are taken inside one NVLink domain, hence the path class ``nvlink``
unless another is given.
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from zcube.calibrate.measurements import MAX_ROWS, Measurements, Metadata, Row
from zcube.calibrate.operations import DTYPE_BYTES, canonical
from zcube.calibrate.readers.options import Gathering, ReadOptions
from zcube.input_files import columns_once

COLUMNS = ("op_name", "nccl_dtype", "num_gpus", "message_size", "latency")
_S_PER_MS = 1e-3
#: Tables without a version are named after the library, e.g. ``h200_sxm_nccl_2.29.2.csv``.
_VERSION = re.compile(r"nccl_(\d+\.\d+(?:\.\d+)?)")


def recognise(text: str) -> bool:
    """Return whether a file's first line names the columns."""
    return set(COLUMNS) <= {name.strip() for name in text.lstrip().split("\n", 1)[0].split(",")}


def read(text: str, source: str, options: ReadOptions) -> Measurements:
    """Read a table.

    Raises
    ------
    InputError
        With every line that cannot be used, unless lenient.
    """
    gathering = Gathering(source, options)
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    columns_once(f"{source}: line 1", reader.fieldnames, (*COLUMNS, "device", "version"))
    devices, versions, most = set(), set(), 0
    try:
        for record in reader:
            where = f"line {reader.line_num}"
            if reader.line_num > MAX_ROWS + 1:
                gathering.broken(where, "more lines", f"at most {MAX_ROWS}")
                break
            row = _row(record, where, gathering)
            if row is not None:
                gathering.add(row, where)
                devices.add(str(record.get("device") or "").strip()[:100])
                versions.add(str(record.get("version") or "").strip()[:40])
                most = max(most, row.ranks)
    except csv.Error as error:
        gathering.broken(f"line {reader.line_num}", f"no CSV ({error})", "a line of the table")
    if len(devices - {""}) > 1:
        gathering.broken("", f"{len(devices)} devices", "one device per calibration")
    device = min(devices, default="")
    if options.path is None:
        gathering.note("the table does not name the path; taken as nvlink")
    named = _VERSION.search(Path(source).name)
    version = ", ".join(sorted(versions - {""}))[:100]
    if version and named and named[1] != version:
        gathering.note(f"the file's name says NCCL {named[1]}, its column version {version}, which counts")
    return gathering.measurements(
        Metadata(
            hardware=f"{most}x {device}" if device else "",
            nccl_version=version or (named[1] if named else ""),
            how="NCCL latency table",
        )
    )


def _row(record: dict[str, str | None], where: str, gathering: Gathering) -> Row | None:
    """Return a line's row, or None after noting what is wrong with it."""
    if any(record.get(name) in (None, "") for name in COLUMNS):
        gathering.broken(where, "fewer columns", "every column; a line that ends early comes from a run that was killed")
        return None
    operation = canonical(str(record["op_name"]))
    dtype = str(record["nccl_dtype"]).strip().lower()
    if operation is None:
        gathering.broken(f"{where}: op_name", repr(record["op_name"])[:60], "an NCCL operation")
    if dtype not in DTYPE_BYTES:
        gathering.broken(f"{where}: nccl_dtype", repr(dtype)[:60], f"one of {', '.join(DTYPE_BYTES)}")
    try:
        ranks, elements = int(str(record["num_gpus"])), int(str(record["message_size"]))
        latency_ms = float(str(record["latency"]))
    except ValueError:
        found = ", ".join(f"{name} {str(record[name])[:40]!r}" for name in ("num_gpus", "message_size", "latency"))
        gathering.broken(where, found, "whole num_gpus and message_size, latency in milliseconds")
        return None
    if operation is None or dtype not in DTYPE_BYTES:
        return None
    time_s = latency_ms * _S_PER_MS if math.isfinite(latency_ms) else math.inf
    return Row(operation, ranks, gathering.options.path or "nvlink", elements * DTYPE_BYTES[dtype], time_s, dtype=dtype)
