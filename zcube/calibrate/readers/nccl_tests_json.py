"""What the nccl-tests programs write with ``-J FILE`` (NVIDIA nccl-tests, ``src/util.cu``, JSON version 2).

``config.devices`` holds one entry per process, each of which drives ``nthreads * ngpus`` ranks. Times are microseconds. Of the
environment, which is written whole, only NCCL's own variables are kept. A run that was killed leaves a file that does not end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zcube.calibrate.measurements import MAX_ROWS, Measurements, Metadata, Row
from zcube.calibrate.operations import canonical
from zcube.calibrate.readers.nccl_tests_text import group_hosts, group_ranks, nccl_version
from zcube.calibrate.readers.options import Gathering, ReadOptions
from zcube.errors import InputError
from zcube.inputs import json_document
from zcube.json_text import json_record, json_value

_S_PER_US = 1e-6
_RESULTS = '"results":'


def recognise(text: str) -> bool:
    """Return whether a file has the keys that such a file starts with."""
    return text.lstrip()[:1] == "{" and '"nccl_version"' in text and '"args"' in text


def read(text: str, source: str, options: ReadOptions) -> Measurements:
    """Read one run.

    Raises
    ------
    InputError
        With every fault, unless lenient: a run that was killed, wrong data, values that cannot be used.
    """
    gathering = Gathering(source, options)
    document = _document(text, source, gathering)
    if not document:
        return gathering.measurements(Metadata())
    _say_failures(document, gathering)
    arguments = [str(value) for value in _list(document.get("args"))]
    operation = canonical(Path(arguments[0]).name if arguments else "") or canonical(options.operation or "")
    config = document.get("config")
    config = config if isinstance(config, dict) else {}
    devices = [device for device in _list(config.get("devices")) if isinstance(device, dict)]
    processes = group_ranks([str(device.get("group", 0)) for device in devices])
    ranks = processes * _whole(config.get("nthreads")) * _whole(config.get("ngpus"))
    if operation is None:
        gathering.broken("args", repr(arguments[:1])[:80], "the program of a known operation")
    if ranks < 1:
        gathering.broken("config.devices", "no ranks, or groups of ranks of several sizes", "at least one rank")
    hosts = group_hosts(
        [str(device.get("group", 0)) for device in devices], [str(device.get("hostname") or "") for device in devices]
    )
    if hosts is None and ranks > 1:
        gathering.broken("config.devices", "hosts with different numbers of ranks", "equally many ranks on each host")
    if ranks == 1:
        gathering.alone()
    elif operation is not None and ranks and hosts is not None:
        for number, record in enumerate(_list(document.get("results"))[:MAX_ROWS]):
            _take(record, f"result {number + 1}", operation, (ranks, hosts), _whole(config.get("iterations")), gathering)
    return gathering.measurements(_metadata(document, arguments, devices, ranks))


def _document(text: str, source: str, gathering: Gathering) -> dict[str, Any]:
    """Return the file's object; of one that ends early, when lenient, what can be read."""
    try:
        document = json_document(Path(source), text)
    except InputError as error:
        gathering.broken("", error.faults[0].found, "the JSON of one run that ended; was it killed?")
        document = _salvaged(text) if gathering.options.lenient else {}
    if not gathering.options.lenient and isinstance(document, dict) and document and "end_time" not in document:
        gathering.broken("end_time", "nothing", "this key; was the run killed?")
    return document if isinstance(document, dict) else {}


def _say_failures(document: Mapping[str, Any], gathering: Gathering) -> None:
    """Note that the program found wrong data, and what NCCL said at its end."""
    bounds = document.get("out_of_bounds")
    if isinstance(bounds, dict) and (_whole(bounds.get("count")) or bounds.get("okay") in ("false", False)):
        found = f"{_whole(bounds.get('count'))} wrong elements received"
        gathering.broken("out_of_bounds", found, "a run whose data check passes")
    for text in _list(document.get("errors")):
        # Without an error NCCL says nothing, which is written as an empty text.
        if str(text).strip():
            gathering.note(f"NCCL's last error: {str(text)[:200]}")


def _salvaged(text: str) -> dict[str, Any]:
    """Return the head of a cut file and the results that are whole."""
    head, found, rest = text.partition(_RESULTS)
    try:
        document = json_value(head.rstrip().rstrip(",") + "}")
    except (ValueError, RecursionError):
        return {}
    place = rest.find("[") + 1
    records: list[Any] = []
    while found and place > 0 and len(records) < MAX_ROWS:
        try:
            record, place = json_record(rest, place)
        except (ValueError, RecursionError):
            break
        records.append(record)
        place += len(rest[place:]) - len(rest[place:].lstrip(", \r\n\t")) if place < len(rest) else 0
    document["results"] = records
    return document if isinstance(document, dict) else {}


def _take(record: Any, where: str, operation: str, size: tuple[int, int], repetitions: int, gathering: Gathering) -> None:
    """Add the points of a result; ``size`` holds ranks and hosts."""
    ranks, hosts = size
    if not isinstance(record, dict) or type(record.get("size")) is not int:
        return gathering.broken(where, "no size", "an object with size, type and out_of_place")
    if record["size"] == 0:
        return gathering.note("sizes of 0 bytes are left out")
    for key in ("out_of_place", "in_place"):
        body = record.get(key)
        if body is None:
            continue
        if not isinstance(body, dict) or "time" not in body:
            cpu = isinstance(body, dict) and "cpu_time" in body
            gathering.broken(
                f"{where}: {key}", "CPU times" if cpu else "no time", "the time until data arrived, in microseconds"
            )
            continue
        times_us = _times_us(record.get(f"{key}_per_iter"))
        time_us = float(np.median(times_us)) if len(times_us) else body["time"]
        if not _is_number(time_us):
            gathering.broken(f"{where}: {key}", f"time {time_us!r}"[:60], "a number")
            continue
        low, high = np.quantile(times_us, (0.1, 0.9)) * _S_PER_US if len(times_us) else (None, None)
        wrong = body.get("nwrong")
        row = Row(
            operation, ranks, gathering.path(hosts), record["size"], time_us * _S_PER_US,
            dtype=str(record.get("type", ""))[:40], in_place=key == "in_place",
            p10_s=None if low is None else float(low), p90_s=None if high is None else float(high),
            min_s=float(times_us.min()) * _S_PER_US if len(times_us) else None,
            correct=None if not isinstance(wrong, int | float) else wrong == 0, repetitions=repetitions,
            hosts=hosts,
        )  # fmt: skip
        gathering.add(row, f"{where}: {key}")
    return None


def _times_us(body: Any) -> np.ndarray:
    """Return the times of single repetitions, empty where they were not written."""
    values = _list(body.get("times_us")) if isinstance(body, dict) else []
    return np.array([value for value in values if _is_number(value)], dtype=np.float64)


def _is_number(value: Any) -> bool:
    # true and false are numbers to Python, and whole numbers beyond a float's range are none to numpy.
    return type(value) is float or (type(value) is int and abs(value) < 1 << 62)


def _metadata(document: Mapping[str, Any], arguments: list[str], devices: list[dict[str, Any]], ranks: int) -> Metadata:
    pairs = [str(entry).partition("=") for entry in _list(document.get("env"))]
    models = sorted({str(device.get("device_info", "")).strip()[:100] for device in devices} - {""})
    return Metadata(
        hardware=f"{ranks}x {', '.join(models)}"[:500] if models else "",
        nccl_version=nccl_version(_whole(document.get("nccl_version"))),
        environment={key[:100]: value[:300] for key, _, value in pairs if key.startswith("NCCL_")},
        how=" ".join(
            ["nccl-tests:", *(Path(argument).name if place == 0 else argument for place, argument in enumerate(arguments))]
        )[:4000],
        details={"hosts": len({str(device.get("hostname")) for device in devices})},
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 31 else 0
