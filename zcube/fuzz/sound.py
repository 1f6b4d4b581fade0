"""Small sound files: the program's own, written by what writes them, and those of ``corpus/``, as other tools write theirs."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcube.plan.demand import Site
    from zcube.plan.search.space import Space

CORPUS = Path(__file__).resolve().parent / "corpus"
_PACKAGE = CORPUS.parent.parent

#: Declared files that do not ship, by kind.
TEXTS = {
    "topology custom": 'family = "custom"\nlinks = "t.links.csv"\n[switch]\nmodel = "64x400G"\nports = 64\nport_gbps = 400\n',
    "racks": "servers_per_rack = 4\nrows = 2\nrack_kw = 40.0\nstocked_lengths_m = [1, 3, 10, 100]\n",
    "engine options": 'prefill_layout = "cp8"\nprefill_nodes = 2\nrequests = 2\nnew_tokens = 4096\ndecode_steps = 3\n',
    "wiring demand": "queue_pairs = 4\njudged = 2\n[funnel]\n[search]\n[packet]\nheader_bytes = 64\n",
    "assignment": "load.concurrency=20",
    "hosts": "node-a:8,node-b:8",
}
FABRIC = "roft-32"


def text_of(kind: str) -> bytes:
    """Return one of :data:`TEXTS`."""
    return TEXTS[kind].encode()


def from_corpus(name: str) -> Callable[[], bytes]:
    """Return what gives a file of ``corpus/``."""
    return (CORPUS / name).read_bytes


def demand() -> bytes:
    """Return the demand that ships as an example, without the catalogue beside it."""
    return b"\n".join(line for line in in_package("plan/demand.toml")().split(b"\n") if not line.startswith(b"catalogue"))


def in_package(name: str) -> Callable[[], bytes]:
    """Return what gives a file that ships inside the package."""
    return (_PACKAGE / name).read_bytes


def bundled(folder: str, stem: str) -> Callable[[], bytes]:
    """Return what gives a bundled declared file."""
    from zcube.inputs import bundled_folder

    return (bundled_folder(folder) / f"{stem}.toml").read_bytes


def first_lines(make: Callable[[int], bytes], count: int) -> bytes:
    """Return the first lines of a sample."""
    return b"\n".join(make(0).split(b"\n")[:count]) + b"\n"


@cache
def fabric_in(form: str) -> bytes:
    """Return a small fabric in a wiring format."""
    from zcube.fabric.catalog import load_fabric
    from zcube.fabric.wiring.cabling import Wiring
    from zcube.fabric.wiring.formats import fabric_text
    from zcube.fabric.wiring.rack_layout import RackLayout
    from zcube.fabric.wiring.tables import lldp_csv

    fabric = load_fabric(FABRIC)
    return (lldp_csv(Wiring.of(fabric)) if form == "lldp" else fabric_text(fabric, form, RackLayout())).encode()


def measurements() -> bytes:
    """Return measurements as ``zcube calibrate read`` writes them."""
    from zcube.calibrate.readers import read_measured
    from zcube.outputs import to_json

    return to_json(read_measured(CORPUS / "nccl-tests.txt").document()).encode()


def calibration() -> bytes:
    """Return what is fitted to them."""
    from zcube.calibrate.fitting import fit
    from zcube.calibrate.readers import read_measured
    from zcube.outputs import to_json

    return to_json(fit(read_measured(CORPUS / "nccl-tests.txt"), draws=0).model_dump(mode="json")).encode()


def handed() -> bytes:
    """Return what the ranks of ``zcube calibrate run`` hand back."""
    row = {
        "operation": "all-to-all", "pattern": "", "ranks": 2, "size_bytes": 1024, "dtype": "bfloat16", "time_s": 1e-5,
        "p10_s": 9e-6, "p90_s": 2e-5, "min_s": 8e-6, "repetitions": 9, "batch": 32, "launch_hidden": 1.0, "in_place": False,
        "correct": True,
    }  # fmt: skip
    matrix = {"pattern": "pairs", "size_bytes": 1024, "gbps": [[None, 5.0], [6.0, None]], "correct": True}
    facts = {"torch": "2.11.0", "nccl": "2.28.9"}
    return json.dumps({"rows": [row, {**row, "size_bytes": 2048}], "matrices": [matrix], "notes": [], "facts": facts}).encode()


@cache
def searching() -> tuple[Site, Space]:
    """Return a demand that is searched for, and its genomes."""
    from zcube.plan.demand import load_demand
    from zcube.plan.search.space import Space

    site = load_demand(None, {"gpus": 32, "switch": ("25.6T",)}, ("spine-leaf",))
    return site, Space(site)


def search_state() -> bytes:
    """Return a state that a search goes on from, of its first generation."""
    from zcube.plan.search.state import Found, SearchState

    site, space = searching()
    genomes = tuple(tuple(gene % most for most in space.choices.tolist()) for gene in range(4))
    found = (Found(graph="0" * 16, genome=genomes[0], lacking=1.0), Found(graph="1" * 16, genome=genomes[1], lacking=0.5))
    demand = site.demand.model_dump(mode="json")
    state = SearchState(demand=demand, population=4, pymoo="0", generation=0, genomes=genomes, found=found, reached=(2,))
    return state.to_json().encode()


def attention_table() -> bytes:
    """Return a table of attention times."""
    from zcube.llm.tables.read import GLM_5

    points = ((heads, batch, step) for heads in (8, 16) for batch in (1, 8) for step in (0, 4096))
    rows = [f"{GLM_5},fp8,{heads},{batch},1,{step},{0.01 * batch + step / 1e6}" for heads, batch, step in points]
    return "\n".join(["model,kv_cache_dtype,num_heads,batch_size,isl,step,latency", *rows, ""]).encode()


def flows_parquet() -> bytes:
    """Return a list of transfers."""
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(
        pa.table({"src": [0, 1, 2], "dst": [8, 9, 10], "bytes": [1e6, 2e6, 3e6], "start_s": [0.0, 0.1, 0.2]}), out
    )
    return out.getvalue()


def trace(suffix: str) -> bytes:
    """Return a trace, as Parquet or JSON Lines by the ending."""
    from zcube.trace.files import write_trace
    from zcube.trace.importers.catalog import import_trace

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        write_trace(import_trace([CORPUS / "goal.goal"]).trace, path)
        return path.read_bytes()


def runs() -> bytes:
    """Return two runs as a sweep keeps them."""
    from zcube.kept_runs import KeptRun, store_text

    figures = {"ttft_s": {"p99": 1.5}, "requests": 8, "limited_by": "prefill"}
    return store_text(KeptRun.of(f"{seed:064x}", {"fabric": FABRIC, "seed": seed}, figures) for seed in (1, 2)).encode()


@cache
def results() -> Path:
    """Return a folder of results that ``zcube compare`` writes, made once a process."""
    from zcube import __version__
    from zcube.comparison import compare
    from zcube.out_folder import RECORD_VERSION, out_folder
    from zcube.report.folder import write_folder
    from zcube.scenario import load_scenario

    small = {"requests.count": 6, "load.concurrency": 4, "network.fidelity": "ideal"}
    scenario = load_scenario("nic-cap-32", small)
    record = {
        "record_version": RECORD_VERSION,
        "zcube_version": __version__,
        "call": ["compare"],
        "scenario": scenario.model_dump(mode="json"),
    }
    kept = tempfile.TemporaryDirectory(prefix="zcube-fuzz-")
    _KEPT.append(kept)
    return write_folder(compare(scenario), record, out_folder(Path(kept.name) / "results"))


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def stored(name: str) -> Callable[[], bytes]:
    """Return what gives a file of :func:`results`."""
    return partial(_stored, name)


def _stored(name: str) -> bytes:
    return (results() / name).read_bytes()
