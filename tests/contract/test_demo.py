"""``zcube demo``: samples of every kind that the program reads, from a seed, and nobody's files lost."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import zcube as zc
from zcube.calibrate.readers.catalog import read_files
from zcube.calibrate.readers.options import ReadOptions
from zcube.samples.catalog import SAMPLES
from zcube.samples.measurements import BYTES_PER_S, RANKS, START_S
from zcube.trace.importers.catalog import import_trace
from zcube.workload.readers import ReadOptions as RequestOptions
from zcube.workload.readers import read_requests

NAMES = {name for sample in SAMPLES for name in sample.makers}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return zc.demo(tmp_path_factory.mktemp("samples") / "demo").folder


def test_a_seed_gives_the_same_files_and_another_seed_others(samples, tmp_path):
    again, other = contents(zc.demo(tmp_path / "a").folder), contents(zc.demo(tmp_path / "b", seed=7).folder)
    assert set(again) == set(other) == NAMES
    assert again == contents(samples)
    assert all(again[name] != other[name] for name in NAMES - {"nccl.host0.log", "nccl.host1.log"})
    assert sum(map(len, again.values())) < 500_000


def test_unchanged_samples_are_replaced_and_kept_beside_other_files(run, tmp_path):
    folder = tmp_path / "demo"
    assert run("demo", folder)[0] == 0
    assert run("demo", folder, "--seed", "7")[0] == 0
    seven = contents(folder)
    (folder / "thesis.txt").write_text("years of work")
    status, out, err = run("demo", folder, "--seed", "7", "--json")
    assert (status, json.loads(out)["written"]) == (0, False), err
    assert contents(folder) == seven | {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("spoil", ["a file of the user's", "a changed sample"])
def test_nothing_of_the_users_is_replaced(run, tmp_path, spoil):
    folder = tmp_path / "demo"
    assert run("demo", folder)[0] == 0
    name = "thesis.txt" if spoil == "a file of the user's" else "flows.csv"
    (folder / name).write_text("years of work")
    before = contents(folder)
    status, out, err = run("demo", folder, "--seed", "7")
    assert (status, out) == (2, "")
    assert name in err
    assert contents(folder) == before


def test_json_names_every_file_and_its_size(run, tmp_path):
    status, out, err = run("demo", tmp_path / "demo", "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert {row["file"]: row["bytes"] for row in document["files"]} == {
        name: len(content) for name, content in contents(tmp_path / "demo").items()
    }


@pytest.mark.parametrize("seed", [-1, 1.0, True, 1 << 63])
def test_a_seed_that_is_none_is_refused(tmp_path, seed):
    with pytest.raises(zc.InputError, match="seed"):
        zc.demo(tmp_path / "demo", seed=seed)
    assert not (tmp_path / "demo").exists()


def test_requests_are_read_as_what_they_are(samples):
    trace = zc.load_requests(samples / "trace.jsonl")
    assert len(trace.arrival_s) == 600
    assert 0.3 < trace.summary().prefix_hit_bound < 1
    sessions = read_requests(samples / "dataset.jsonl", options=RequestOptions(sessions="delta"))
    assert (np.asarray(sessions.after) >= 0).sum() == len(sessions.arrival_s) - 40
    columns = {"arrival": "t", "input": "prompt_tokens", "output": "completion_tokens"}
    log = read_requests(samples / "log.csv", options=RequestOptions(columns=columns, time_unit="ms"))
    assert (log.input_tokens == trace.input_tokens).all()
    # Times of whole milliseconds that fall together are spread on reading.
    assert np.quantile(np.abs(log.arrival_s - trace.arrival_s), 0.9) < 1e-3


def test_the_funnel_goes_to_nic_0_of_servers_that_all_fabrics_of_256_gpus_have(samples):
    flows = zc.replay("zcube-256", samples / "flows.csv").table()
    assert len(flows) == 240


def test_a_fit_gives_back_what_the_measurements_were_made_of(samples):
    """Start and rate of an all-to-all; the scatter of 2 % is that of one point."""
    measured = read_files([samples / "nccl-tests.txt"], ReadOptions("nvlink", None, False))
    fit = zc.calibrate.fit(measured, draws=0)
    curve = next(curve for curve in fit.curves if curve.operation == "all-to-all")
    assert curve.ranks == RANKS
    first, last = curve.regimes[0], curve.regimes[-1]
    assert first.latency_s == pytest.approx(START_S, rel=0.03)
    assert last.bandwidth_bytes_per_s * (RANKS - 1) / RANKS == pytest.approx(BYTES_PER_S, rel=0.03)


def test_log_and_profiles_are_of_one_job(samples):
    logged = import_trace(sorted(samples.glob("nccl.*.log"))).trace
    profiled = import_trace(sorted(samples.glob("kineto_rank*.json.gz"))).trace

    def operations(trace):
        rows = zip(trace.name, trace.group, trace.size_bytes, strict=True)
        return sorted((trace.names[name], trace.groups[group], int(size)) for name, group, size in rows)

    assert operations(logged) == operations(profiled)
    assert math.isfinite(float(profiled.duration_s.sum())) and (profiled.duration_s > 0).all()


def test_two_cables_are_found_swapped(run, samples):
    status, out, err = run("fabric", "verify", "zcube-32", samples / "found.dot", "--json")
    assert status == 1, err
    assert json.loads(out)["swapped_cables"] == 2
