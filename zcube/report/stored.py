"""A comparison's results as its folder keeps them: read back for a report, without anything being simulated.

Its document and tables have most of it; ``figures.json`` has what is drawn beyond these: loads of switches' links, congestion
trees.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from zcube import __version__
from zcube.comparison import SCHEMA_VERSION
from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import check_table, parquet_file, read_bounded
from zcube.inputs import json_document
from zcube.out_folder import RECORD_VERSION, RUN_FILE, recorded_files
from zcube.report.congestion_tree import CongestionTree, PausedPort
from zcube.report.distributions import LATENCIES
from zcube.report.link_bands import Band, LinkLoad
from zcube.report.results import Results
from zcube.workplace import digest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUMMARY_FILE, FIGURES_FILE = "summary.json", "figures.json"
FIGURES_VERSION = 1
#: What a sweep's folder has in their place.
SWEEP_PAGE = "sweep.html"
#: Largest documents and tables that are read, and longest text of a table.
MOST_BYTES, MOST_TABLE_BYTES, MOST_REQUESTS, MOST_TEXT = 1 << 26, 1 << 31, 5_000_000, 1_000
#: Fabrics of a comparison that a report shows; bands of a fabric's link loads, and links in them.
MOST_FABRICS, MOST_BANDS, MOST_CELLS = 64, 64, 4_000_000

Value = TypeVar("Value")


def figures_document(results: Results) -> dict[str, Any]:
    """Return what is drawn beyond document and tables, by fabric, JSON-ready: null where a switch has fewer links."""
    return {
        "figures_version": FIGURES_VERSION,
        "link_load": {name: _load(load) for name, load in results.loads.items()},
        "congestion_trees": {name: [asdict(tree) for tree in trees] for name, trees in results.trees.items()},
    }


def read_results(folder: Path) -> Results:
    """Return the results that a folder of ``zcube compare`` holds.

    Raises
    ------
    InputError
        With every fault: no folder of results, one of another verb or version, files that are missing, were changed since they
        were written, are too large, or do not hold what they should.
    """
    record, digests = recorded_files(folder)
    if SWEEP_PAGE in digests:
        expected = f"a folder of zcube compare; what the sweep says stands in {folder / SWEEP_PAGE}"
        raise InputError(Fault(str(folder), "a folder of zcube sweep", expected))
    faults, tables = FaultList(), {}
    for key, version in (("record_version", RECORD_VERSION), ("zcube_version", __version__)):
        if record[key] != version or type(record[key]) is not type(version):
            faults.faults.append(Fault(f"{folder / RUN_FILE}: {key}", repr(record[key])[:60], repr(version)))
    faults.check()
    gone = (name for name in digests if Path(name).name == name and Path(name).suffix in (".json", ".parquet"))
    faults.faults.extend(_no_file(folder / name) for name in gone if not (folder / name).is_file())
    document: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    scenario: dict[str, Any] = {}
    fabrics: list[str] = []
    call: tuple[str, ...] = ()
    with faults:
        document = _documents(folder, digests, SUMMARY_FILE, "schema_version", SCHEMA_VERSION)
        with _expected(folder / SUMMARY_FILE):
            named, base, count, seed = list(document["fabrics"]), document["baseline"], document["seeds"], document["seed"]
            if not 1 <= len(named) <= MOST_FABRICS or base not in named or type(count) is not int or type(seed) is not int:
                raise ValueError(f"{len(named)} fabrics, baseline {base!r}")
            fabrics = named
    with faults, _expected(folder / RUN_FILE):
        scenario = record["scenario"]
        call = tuple(str(word) for word in record.get("call", ()))
        if not isinstance(scenario, dict) or not isinstance(scenario["load"], dict):
            raise ValueError("no scenario")
    loads: dict[str, LinkLoad] = {}
    trees: dict[str, tuple[CongestionTree, ...]] = {}
    with faults:
        figures = _documents(folder, digests, FIGURES_FILE, "figures_version", FIGURES_VERSION)
        with _expected(folder / FIGURES_FILE):
            loads = {name: _read_load(figures["link_load"][name]) for name in fabrics}
            trees = {
                name: tuple(map(_read_tree, found)) for name, found in figures["congestion_trees"].items() if name in fabrics
            }
    if fabrics:
        with faults, _expected(folder / SUMMARY_FILE):
            for name, slug in Results(document, scenario, {}, loads, trees, call).slugs.items():
                with faults:
                    tables[name] = _requests(_unchanged(folder, digests, f"requests-{slug}.parquet"))
    faults.check()
    return Results(document, scenario, tables, loads, trees, call)


@contextmanager
def shown_from(folder: Path, name: str = SUMMARY_FILE) -> Iterator[None]:
    """Refuse a folder whose document of a name lacks what a report shows, or holds it in another form.

    Raises
    ------
    InputError
        In place of what a missing key or a value of another type raises.
    """
    with _expected(folder / name):
        yield


@contextmanager
def _expected(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        found = f"{type(error).__name__}: {str(error)[:100]}"
        raise InputError(Fault(str(path), found, "what this version of zcube compare writes; run it again")) from error


def _documents(folder: Path, digests: Mapping[str, str], name: str, key: str, version: int) -> dict[str, Any]:
    """Return a JSON table of a version."""
    path = _unchanged(folder, digests, name)
    found = json_document(path, read_bounded(path, MOST_BYTES))
    if not isinstance(found, dict) or found.get(key) != version or type(found[key]) is not int:
        stated = found.get(key) if isinstance(found, dict) else type(found).__name__
        raise InputError(Fault(f"{path}: {key}", repr(stated)[:60], str(version)))
    return found


def _unchanged(folder: Path, digests: Mapping[str, str], name: str) -> Path:
    """Return the path of a file that the record lists, and that is as it was written."""
    path = folder / name
    if name not in digests:
        raise InputError(Fault(str(path), f"a file that {RUN_FILE} does not list", "results of zcube compare of this version"))
    if path.is_symlink() or not path.is_file():
        raise InputError(_no_file(path))
    size, most = path.stat().st_size, MOST_BYTES if path.suffix == ".json" else MOST_TABLE_BYTES
    if size > most:
        raise InputError(Fault(str(path), f"{size:,} bytes", f"at most {most:,}"))
    if digest(path) != digests[name]:
        raise InputError(Fault(str(path), "another content than was written", "the file as zcube compare wrote it"))
    return path


def _no_file(path: Path) -> Fault:
    return Fault(str(path), "no file", "the file that was written")


def _requests(path: Path) -> pd.DataFrame:
    """Return which requests count and their latencies."""
    import pandas as pd

    table = stored_table(path, ["counted", *(latency.key for latency in LATENCIES)], MOST_REQUESTS)
    with _expected(path):
        counted = table["counted"].to_numpy()
        if counted.dtype != np.bool_:
            raise TypeError("counted is no column of yes and no")
        times = {latency.key: table[latency.key].to_numpy().astype(np.float64) for latency in LATENCIES}
        return pd.DataFrame({"counted": counted, **times})


def stored_table(path: Path, columns: Sequence[str], most_rows: int, texts: Container[str] = ()) -> pd.DataFrame:
    """Return columns of a table as it was written; what they are is looked at before any of it is read.

    Parameters
    ----------
    path : Path
        A Parquet table.
    columns : sequence of str
        Which columns: numbers or truth values.
    most_rows : int
        How many rows it may have.
    texts : container of str
        Which of the columns are texts instead.

    Raises
    ------
    InputError
        If it is no Parquet table, lacks a column, has one of another type, is too large, or holds a text that is too long.
    """
    # A text that many rows have is held once.
    with parquet_file(path, MOST_TABLE_BYTES, "a Parquet table", [name for name in columns if name in texts]) as file:
        missing = [name for name in columns if file.schema_arrow.names.count(name) != 1]
        if missing:
            raise InputError(Fault(str(path), f"no column {', '.join(missing)}", "a table of this version"))
        wrong = [name for name in columns if not _is_of_type(file.schema_arrow.field(name).type, name in texts)]
        if wrong:
            faults = ((name, str(file.schema_arrow.field(name).type)[:60]) for name in wrong)
            raise InputError(Fault(f"{path}: {name}", kind, "texts" if name in texts else "numbers") for name, kind in faults)
        check_table(path, file, most_rows, 16 * len(columns) * most_rows)
        table = file.read(columns=list(columns))
        table.validate(full=True)
        for name in columns:
            if name in texts and _longest(table[name]) > MOST_TEXT:
                raise InputError(Fault(f"{path}: {name}", "a longer text", f"at most {MOST_TEXT} characters"))
        frame = table.to_pandas()
        return frame.astype({name: object for name in columns if name in texts})


def _is_of_type(kind: pa.DataType, text: bool) -> bool:
    """Return whether a column of an Arrow type, its texts read as a dictionary, is of texts, or else of plain numbers."""
    from pyarrow import types

    if text:
        return types.is_dictionary(kind) and (types.is_string(kind.value_type) or types.is_large_string(kind.value_type))
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _longest(column: pa.ChunkedArray) -> int:
    """Return the bytes of the longest text of a dictionary's."""
    from pyarrow import compute

    lengths = (compute.max(compute.binary_length(chunk.dictionary)).as_py() for chunk in column.chunks)
    return max((length or 0 for length in lengths), default=0)


def recorded_file(folder: Path) -> Callable[[str], Path | None]:
    """Return what gives the path of a file of a run by name, None where it wrote none, and refuses one changed or gone."""
    _, digests = recorded_files(folder)
    return lambda name: _unchanged(folder, digests, name) if name in digests else None


def _load(load: LinkLoad) -> dict[str, Any]:
    return {"fullest_from_gpu": load.fullest_from_gpu, "bands": [_band(band) for band in load.bands]}


def _band(band: Band) -> dict[str, Any]:
    percent = [[None if np.isnan(cell) else float(cell) for cell in row] for row in band.percent]
    return {"role": band.role, "peers": band.peers, "gpu_links": band.gpu_links, "percent": percent}


def _read_load(stored: Mapping[str, Any]) -> LinkLoad:
    bands = []
    cells = sum(len(row) for band in stored["bands"] for row in band["percent"])
    if len(stored["bands"]) > MOST_BANDS or cells > MOST_CELLS:
        raise ValueError(
            f"link_load: {len(stored['bands']):,} bands of {cells:,} links, more than {MOST_BANDS} or {MOST_CELLS:,}"
        )
    for band in stored["bands"]:
        percent = np.array([[np.nan if cell is None else float(cell) for cell in row] for row in band["percent"]], dtype=float)
        if percent.ndim != 2 or not 0 <= _whole(band["gpu_links"]) <= percent.shape[1]:
            raise ValueError("link_load: rows of other lengths, or more links to GPUs than links")
        bands.append(Band(_text(band["role"]), percent, band["gpu_links"], _text(band["peers"])))
    return LinkLoad(tuple(bands), float(stored["fullest_from_gpu"]))


def _read_tree(stored: Mapping[str, Any]) -> CongestionTree:
    ports = tuple(_read_port(port, place) for place, port in enumerate(stored["ports"]))
    sums = float(stored["paused_s"]), _whole(stored["pauses"]), float(stored["share"])
    if not ports:
        raise ValueError("congestion_trees: a tree without ports")
    return CongestionTree(ports, *sums, _text(stored["behind"]))


def _read_port(stored: Mapping[str, Any], place: int) -> PausedPort:
    cause = _whole(stored["cause"])
    # A port stands after its cause, so that a tree has no ring.
    if not (cause == -1 if place == 0 else 0 <= cause < place):
        raise ValueError(f"congestion_trees: port {place} before its cause {cause}")
    return PausedPort(
        link=_whole(stored["link"]),
        source=_text(stored["source"]),
        target=_text(stored["target"]),
        cause=cause,
        layer=_whole(stored["layer"]),
        paused_s=float(stored["paused_s"]),
        pauses=_whole(stored["pauses"]),
        by_cause_s=float(stored["by_cause_s"]),
    )


def _whole(value: Any) -> int:
    return _of(value, int)


def _text(value: Any) -> str:
    return _of(value, str)


def _of(value: Any, kind: Callable[..., Value]) -> Value:
    if type(value) is not kind:
        raise TypeError(f"{value!r}"[:60])
    return value
