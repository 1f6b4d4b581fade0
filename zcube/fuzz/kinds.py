"""Every kind of file that is read: a sound one, how it is built, and its reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zcube.fuzz import sound
from zcube.fuzz.mutations import Form


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name : str
        As it is counted.
    file : str
        What a file of it is called; some readers go by its ending.
    form : str
        How it is built, for the changes.
    sound : callable
        Returns a small sound file of the kind.
    read : callable
        Reads a file as the verbs do, and uses what was read as far as they do before they simulate.
    one_in : int
        Of so many inputs that others get, this one gets one: for readers that take longer.
    """

    name: str
    file: str
    form: Form
    sound: Callable[[], bytes]
    read: Callable[[Path], object]
    one_in: int = 1


def kinds() -> tuple[Kind, ...]:
    """Return all kinds, by name."""
    found = [*_declared(), *_models(), *_measured(), *_results(), *_requests(), *_transfers(), *_recordings(), *_wiring()]
    return tuple(sorted(found, key=lambda kind: kind.name))


def _by_name(read: Callable[[str], object]) -> Callable[[Path], object]:
    """Return a reader of a path as one that takes a path's text."""
    return lambda path: read(str(path))


def _declared() -> Iterator[Kind]:
    from zcube.fabric.catalog import load_fabric
    from zcube.fabric.families.custom import links_beside
    from zcube.fabric.wiring.rack_layout import load_layout
    from zcube.inputs import read_toml, validate
    from zcube.llm.schedules.options import EngineOptions
    from zcube.network.transports import load_transport
    from zcube.plan.catalogue import load_catalogue
    from zcube.plan.demand import load_demand
    from zcube.plan.rewiring.rewired import wiring_task
    from zcube.plan.search.settings import SearchSettings
    from zcube.plan.search.state import read_state
    from zcube.pricing.price_book import load_price_book
    from zcube.scenario import load_scenario
    from zcube.sweep.points import load_cases

    def custom(path: Path) -> object:
        links_beside(path).write_bytes(sound.fabric_in("links"))
        return load_fabric(str(path))

    def demand(path: Path) -> object:
        return load_demand(str(path), {}, ("zcube", "spine-leaf"))

    def state(path: Path) -> object:
        site, space = sound.searching()
        return read_state(path, site.demand, SearchSettings(population=4), space, "0")

    def options(path: Path) -> object:
        return validate(EngineOptions, read_toml(path), str(path))

    def assignment(path: Path) -> object:
        return load_scenario("nic-cap-32", assignments=[path.read_bytes().decode("utf-8", "surrogateescape")])

    fabric = load_fabric(sound.FABRIC)
    for family in (
        "roft-32",
        "zcube-n16",
        "dragonfly-1056",
        "slim-fly-1024",
        "bcube-1024",
        "hpn-1024",
        "mpft-1024",
        "roft3-1024",
    ):
        yield Kind(f"topology {family}", "t.toml", "toml", sound.bundled("topologies", family), _by_name(load_fabric), 4)
    for stem in ("nic-cap-32", "glm51-ep32-1024", "zai-2026"):
        yield Kind(f"scenario {stem}", "s.toml", "toml", sound.bundled("scenarios", stem), _by_name(load_scenario))
    for stem in ("dcqcn", "mrc-2026"):
        yield Kind(f"transport {stem}", "t.toml", "toml", sound.bundled("transports", stem), _by_name(load_transport))
    for stem in ("nic-rate-and-concurrency", "what-is-not-published"):
        yield Kind(f"sweep {stem}", "s.toml", "toml", sound.bundled("sweeps", stem), _by_name(load_cases), 20)
    yield Kind("price book", "p.toml", "toml", sound.in_package("pricing/books/mixnet-2025.toml"), _by_name(load_price_book))
    yield Kind("switch catalogue", "c.toml", "toml", sound.in_package("plan/catalogue.toml"), _by_name(load_catalogue))
    yield Kind("demand", "d.toml", "toml", sound.demand, demand)
    yield Kind("search state", "search.json", "json", sound.search_state, state)
    readers: dict[str, tuple[str, Callable[[Path], object]]] = {
        "topology custom": ("t.toml", custom), "racks": ("r.toml", load_layout), "engine options": ("o.toml", options),
        "wiring demand": ("w.toml", lambda path: wiring_task(str(path), sound.FABRIC, fabric)),
        "assignment": ("a.txt", assignment),
    }  # fmt: skip
    for name, (file, read) in readers.items():
        yield Kind(name, file, "toml" if file.endswith("toml") else "text", partial(sound.text_of, name), read)


def _models() -> Iterator[Kind]:
    from zcube.llm.card_import import import_card
    from zcube.llm.cards import load_card
    from zcube.llm.decode_node.figures import load_node
    from zcube.llm.devices import load_device

    yield Kind("model card", "m.toml", "toml", sound.in_package("llm/models/glm-5.2.toml"), _by_name(load_card))
    yield Kind("device card", "d.toml", "toml", sound.in_package("llm/devices/h200.toml"), _by_name(load_device))
    yield Kind("decode node", "n.toml", "toml", sound.in_package("llm/decode_node/tilert-b200.toml"), _by_name(load_node))
    yield Kind("config.json", "config.json", "json", sound.from_corpus("config.json"), import_card)


def _measured() -> Iterator[Kind]:
    from zcube.calibrate.apply import apply_calibration
    from zcube.calibrate.calibration import read_calibration
    from zcube.calibrate.fitting import fit
    from zcube.calibrate.measure.drivers import nccl_tests_calls, torch_call
    from zcube.calibrate.measure.handed import read_handed
    from zcube.calibrate.measure.settings import MeasureSettings
    from zcube.calibrate.readers import ReadOptions, read_measured
    from zcube.calibrate.tile_figures import node_figures
    from zcube.calibrate.tile_parts import fit_parts, read_tile_parts
    from zcube.calibrate.tile_times import read_tile_times
    from zcube.inputs import validate
    from zcube.llm.decode_node.figures import load_node
    from zcube.llm.tables.read import read_attention
    from zcube.llm.tables.source import CsvSource

    def fitted(path: Path) -> object:
        return fit(read_measured(path, ReadOptions(path="across") if path.suffix == ".csv" else None), draws=0)

    def table(path: Path) -> object:
        return read_attention(CsvSource(path.parent), "generation", "h200", "fp8")

    def hosts(path: Path) -> object:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        settings = validate(MeasureSettings, {"hosts": text, "nodes": 2, "ranks": (16,)}, "settings")
        return torch_call(settings, 16, path, {}, 1), nccl_tests_calls(settings, 16, path.parent, {})

    yield Kind("hosts", "h.txt", "text", partial(sound.text_of, "hosts"), hosts)
    yield Kind("result of ranks", "r.json", "json", sound.handed, lambda path: read_handed(path, "nvlink"))
    node = load_node("tilert-b200")
    recorded: tuple[tuple[str, str, Form], ...] = (
        ("nccl-tests.txt", "alltoall.txt", "text"), ("nccl-tests.json", "n.json", "json"), ("nccl-table.csv", "t.csv", "csv"),
        ("inspector-calls.json", "i.json", "json lines"),
    )  # fmt: skip
    for name, file, form in recorded:
        yield Kind(f"measured {name}", file, form, sound.from_corpus(name), fitted, 4)
    yield Kind("measurements", "m.json", "json", sound.measurements, fitted, 4)
    yield Kind("calibration", "c.json", "json", sound.calibration, lambda path: apply_calibration(read_calibration(path)))
    yield Kind(
        "tile times",
        "t.json",
        "json",
        sound.from_corpus("tiles.json"),
        lambda path: fit_parts([read_tile_times(path)], draws=2),
        4,
    )
    yield Kind(
        "tile parts",
        "t.json",
        "json",
        sound.from_corpus("tile-parts.json"),
        lambda path: node_figures(node, read_tile_parts(path)),
    )
    yield Kind("measured table", "h200_sxm_glm5_dsa_generation.csv", "csv", sound.attention_table, table)


def _results() -> Iterator[Kind]:
    from zcube.fuzz.stored import read_page, read_record, read_stored
    from zcube.kept_runs import read_runs

    yield Kind("runs.jsonl", "runs.jsonl", "json lines", sound.runs, read_runs)
    yield Kind("run.json", "run.json", "json", sound.stored("run.json"), read_record)
    requests = f"requests-{sound.FABRIC}.parquet"
    for name in ("summary.json", "figures.json", requests):
        form: Form = "parquet" if name == requests else "json"
        yield Kind(f"stored {name}", name, form, sound.stored(name), read_stored, 4)
    for name in ("summary.json", f"topology-{sound.FABRIC}.json", f"links-{sound.FABRIC}.parquet"):
        form = "parquet" if name.endswith("parquet") else "json"
        yield Kind(f"page of {name}", name, form, sound.stored(name), read_page, 200)


def _requests() -> Iterator[Kind]:
    from zcube.samples import requests
    from zcube.workload.readers import ReadOptions, read_requests

    columns = {"arrival": "t", "input": "prompt_tokens", "output": "completion_tokens"}
    log: dict[str, Any] = {"columns": columns, "time_unit": "ms"}
    files: dict[str, tuple[Callable[[], bytes], Form, ReadOptions]] = {
        "Mooncake": (partial(sound.first_lines, requests.mooncake_jsonl, 12), "json lines", ReadOptions()),
        "sessions": (partial(sound.first_lines, requests.sessions_jsonl, 30), "json lines", ReadOptions(sessions="delta")),
        "gateway log": (partial(sound.first_lines, requests.log_csv, 20), "csv", ReadOptions(**log)),
        "Bailian": (sound.from_corpus("bailian.jsonl"), "json lines", ReadOptions()),
        "Dynamo": (sound.from_corpus("dynamo.jsonl"), "json lines", ReadOptions()),
        "Azure": (sound.from_corpus("azure.csv"), "csv", ReadOptions()),
        "BurstGPT": (sound.from_corpus("burstgpt.csv"), "csv", ReadOptions()),
    }
    for name, (content, form, options) in files.items():
        file = "t.csv" if form == "csv" else "t.jsonl"
        yield Kind(f"requests {name}", file, form, content, partial(read_requests, options=options))


def _transfers() -> Iterator[Kind]:
    from zcube.fabric.catalog import load_fabric
    from zcube.replays.gpus import gpu_numbers
    from zcube.samples.transfers import funnel_csv
    from zcube.trace.collectives import expand
    from zcube.trace.files import read_trace
    from zcube.trace.importers.group_file import read_groups
    from zcube.workload.flow_lists import read_flows

    def flows(path: Path) -> object:
        return read_flows(path, partial(gpu_numbers, fabric))

    def trace(path: Path) -> object:
        return expand(read_trace(path))

    fabric = load_fabric("roft-256")
    yield Kind("flows CSV", "f.csv", "csv", partial(sound.first_lines, funnel_csv, 20), flows)
    yield Kind("flows Parquet", "f.parquet", "parquet", sound.flows_parquet, flows)
    yield Kind("trace Parquet", "t.parquet", "parquet", partial(sound.trace, ".parquet"), trace)
    yield Kind("trace JSON Lines", "t.jsonl", "json lines", partial(sound.trace, ".jsonl"), trace)
    yield Kind("groups of ranks", "g.json", "json", sound.from_corpus("groups.json"), read_groups)


def _recordings() -> Iterator[Kind]:
    from zcube.samples.recordings import rank_profile
    from zcube.trace.collectives import expand
    from zcube.trace.importers.catalog import format_names, import_trace

    def imported(path: Path) -> object:
        trace = import_trace([path]).trace
        trace.check()
        return expand(trace)

    forms: dict[str, Form] = {".json": "json", ".jsonl": "json lines", ".csv": "csv", ".bin": "binary", ".et": "binary"}
    for name in format_names():
        (path,) = sound.CORPUS.glob(f"{name}.*")
        form: Form = "json lines" if name == "nccl-inspector" else forms.get(path.suffix, "text")
        yield Kind(f"recorded {name}", f"r.1{path.suffix}", form, path.read_bytes, imported)
    yield Kind("recorded kineto, packed", "r.json.gz", "gzip", partial(rank_profile, 0, 0), imported, 10)


def _wiring() -> Iterator[Kind]:
    from zcube.fabric.wiring.astra import dimensions
    from zcube.fabric.wiring.formats import FORMATS, read_links, read_wiring

    forms: dict[str, Form] = {".json": "json", ".csv": "csv", ".graphml": "xml"}
    for name, one in FORMATS.items():
        content = sound.from_corpus("astra.yml") if name == "astra" else partial(sound.fabric_in, name)
        read: Callable[[Path], object] = read_links if one.read_links else read_wiring
        yield Kind(f"wiring {name}", f"w{one.suffix}", forms.get(one.suffix, "text"), content, read, 4)
    yield Kind("logical dimensions", "l.json", "json", sound.from_corpus("logical.json"), dimensions)
