"""``zcube calibrate run --kind tiles`` without GPUs: programs that stand in for CUDA's, kept times, every refusal."""

import json
import os
import shlex
from pathlib import Path

import pytest

from zcube.calibrate.measure.hardware import Machine
from zcube.calibrate.measure.tiles.build import SOURCES
from zcube.calibrate.measure.tiles.run import TileSettings, measure_tiles
from zcube.calibrate.tile_times import is_tile_times, read_tile_times
from zcube.errors import InputError, RunError

CALIBRATIONS = Path(__file__).resolve().parents[2] / "calibrations"
KEPT = sorted(CALIBRATIONS.glob("tiles-*.json"))
OF_H200 = [path for path in KEPT if "h200" in path.name]
GPU = {"name": "NVIDIA H200", "memory": "143771 MiB", "driver": "580.1"}


def machine(gpus=2):
    return Machine((GPU,) * gpus, None, (), {}, (), None, (), False)


def row(**changed):
    made = {"item": "signal", "variant": "push relaxed", "gpus": 2, "size_bytes": 4, "blocks": 1, "median_us": 0.7,
            "p10_us": 0.6, "p90_us": 0.8, "min_us": 0.5, "samples": 160, "correct": True, "timed_out": False}  # fmt: skip
    return made | changed


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Put an ``nvcc`` on the PATH whose program does what a shell script says; returns the function that sets the script."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def stand_in(script, release="13.0"):
        program = folder / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        nvcc = folder / "nvcc"
        nvcc.write_text(
            "#!/bin/sh\n"
            f'[ "$1" = --version ] && echo "Cuda compilation tools, release {release}, V{release}.88" && exit 0\n'
            'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n'
            f'cp {shlex.quote(str(program))} "$out"\n'
        )
        nvcc.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return stand_in


def printing(*rows):
    return "\n".join(f"echo {shlex.quote(json.dumps(one))}" for one in rows)


def quiet(line):
    pass


def test_rows_come_from_the_program_for_each_number_of_gpus(compiler, tmp_path):
    text = json.dumps(row(gpus=22, samples=33)).replace("22", "'$1'").replace("33", "'$2'")
    compiler(f"echo signals >&2\necho '{text}'")
    said = []
    times = measure_tiles(TileSettings(ranks=(2, 4), samples=50), tmp_path / "times.json", said.append, machine(4))
    assert [(one.gpus, one.samples) for one in times.rows] == [(2, 50), (4, 50)]
    assert "signals" in said
    again = read_tile_times(tmp_path / "times.json")
    assert again == times
    assert again.hardware == "4x NVIDIA H200"
    assert "nvcc 13.0" in again.how


def test_all_gpus_where_none_are_named(compiler, tmp_path):
    compiler(printing(row()) + '\necho "$1 GPUs" >&2')
    said = []
    measure_tiles(TileSettings(), tmp_path / "times.json", said.append, machine(2))
    assert said.count("2 GPUs") == 2


def test_everything_that_is_missing_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as error:
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(1))
    text = str(error.value)
    assert "GPU: found 1 on this host" in text
    assert "nvcc: found none" in text


@pytest.mark.parametrize(("ranks", "fault"), [((4,), "GPU: found 2"), ((1,), "ranks: found 1"), ((9,), "ranks: found 9")])
def test_numbers_of_gpus_that_cannot_be(ranks, fault, compiler, tmp_path):
    compiler(printing(row()))
    with pytest.raises(InputError, match=fault):
        measure_tiles(TileSettings(ranks=ranks), tmp_path / "times.json", quiet, machine(2))


def test_one_gpu_is_measured_only_where_that_is_asked_for(compiler, tmp_path):
    compiler(printing(row(item="barrier", variant="one counter", gpus=1)))
    with pytest.raises(InputError, match="one_gpu = true"):
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(1))
    times = measure_tiles(TileSettings(one_gpu=True), tmp_path / "times.json", quiet, machine(1))
    assert {one.gpus for one in times.rows} == {1}
    with pytest.raises(InputError, match="ranks: found 2; expected 1 with one_gpu = true"):
        measure_tiles(TileSettings(one_gpu=True, ranks=(2,)), tmp_path / "times.json", quiet, machine(2))


def test_a_compiler_that_is_too_old(compiler, tmp_path):
    compiler(printing(row()), release="11.8")
    with pytest.raises(InputError, match=r"release 11\.8; expected release 12\.0 or later"):
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(2))


@pytest.mark.parametrize(
    ("line", "fault"), [("no-peer-access 0 1", "no peer access between all of 2"), ("usable-gpus 1", "1 that CUDA may use")]
)
def test_gpus_that_do_not_reach_each_other(line, fault, compiler, tmp_path):
    compiler(f"echo {line} >&2\nexit 3")
    with pytest.raises(InputError, match=fault):
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(2))
    assert not (tmp_path / "times.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"correct": False},
        {"timed_out": True},
        # What a kernel that gave up before its first sample leaves, and before its sample's end.
        {"timed_out": True, "median_us": 0, "p10_us": 0, "p90_us": 0, "min_us": 0},
        {"timed_out": True, "median_us": 1.8e16, "p90_us": 1.8e16},
    ],
)
def test_wrong_data_is_written_marked_and_fails(wrong, compiler, tmp_path):
    status = 1 if "timed_out" in wrong else 0
    compiler(printing(row(), row(variant="push release", **wrong)) + f"\nexit {status}")
    with pytest.raises(RunError, match="push release"):
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(2))
    assert read_tile_times(tmp_path / "times.json").wrong() == ["signal push release, 2 GPUs, 4 B, 1 blocks"]


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "sleep 30"])
def test_a_program_that_fails_leaves_no_file(script, compiler, tmp_path):
    compiler(printing(row()) + "\n" + script)
    with pytest.raises(RunError):
        measure_tiles(TileSettings(timeout_s=2), tmp_path / "times.json", quiet, machine(2))
    assert not (tmp_path / "times.json").exists()


def test_rows_that_cannot_be_are_refused(compiler, tmp_path):
    compiler(printing(row(median_us=-1.0), row(p90_us=0.1), row(item="colour")))
    with pytest.raises(InputError) as error:
        measure_tiles(TileSettings(), tmp_path / "times.json", quiet, machine(2))
    assert len(error.value.faults) >= 3
    assert not (tmp_path / "times.json").exists()


def test_the_command_says_what_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, err = run("calibrate", "run", "--kind", "tiles", "--out", tmp_path / "times.json")
    assert (status, out) == (2, "")
    assert "GPU: found none" in err
    assert "nvcc: found none" in err
    status, _, err = run("calibrate", "run", "--kind", "tyles", "--out", tmp_path / "times.json")
    assert status == 2
    assert "--kind: found 'tyles'; expected nccl or tiles" in err


def test_the_sources_go_with_the_package():
    assert (SOURCES / "tiles.cu").is_file()
    included = {
        line.split('"')[1] for path in SOURCES.glob("*.cu*") for line in path.read_text().splitlines() if '#include "' in line
    }
    assert included == {path.name for path in SOURCES.glob("*.cuh")}


def test_a_file_is_known_by_what_it_says(tmp_path):
    assert KEPT
    assert all(is_tile_times(path) for path in KEPT)
    assert not is_tile_times(CALIBRATIONS / "2x-h200-nvlink.json")
    (tmp_path / "broken.json").write_text("{")
    assert not is_tile_times(tmp_path / "broken.json")


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_times_are_whole_and_right(path):
    times = read_tile_times(path)
    assert times.wrong() == []
    local = {"signal", "fence", "kernel-boundary", "barrier", "stage", "selection", "overlap"}
    alone = path.stem.startswith("tiles-1x")
    assert len(times.rows) > (45 if alone else 300)
    assert {one.item for one in times.rows} == (local if alone else local | {"push", "stream", "index-list", "all-reduce"})


def test_fit_writes_the_parts_and_prints_what_they_predict(run, tmp_path):
    out_path = tmp_path / "parts.json"
    status, out, err = run("calibrate", "fit", *OF_H200, "--out", out_path)
    assert status == 0, err
    assert "put" in out
    assert "192K" in out
    status, out, err = run("calibrate", "fit", *OF_H200, "--out", out_path, "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads(out_path.read_text())
    assert json.loads(out)["stage_us"]["low"] > 0


def test_files_of_both_kinds_are_not_fitted_together(run, tmp_path):
    status, _, err = run("calibrate", "fit", KEPT[0], CALIBRATIONS / "2x-h200-nvlink.json", "--out", tmp_path / "x.json")
    assert status == 2
    assert KEPT[0].name in err
