"""What is read off a machine, from texts as nvidia-smi and the kernel print them, and what is said to be missing."""

from __future__ import annotations

import pytest

from zcube.calibrate.measure.hardware import (
    GPU_QUERY,
    choose_driver,
    find_nics,
    look,
    nccl_environment,
    nic_line_rate_gbps,
    parse_gpus,
    parse_nvlink,
    parse_topology,
)
from zcube.calibrate.measure.run import measure
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.errors import InputError

GPUS = "NVIDIA H200, 143771 MiB, 580.159.04, 5, 16, 1980 MHz\n" * 2
NVLINK = "".join(
    f"GPU {gpu}: NVIDIA H200 (UUID: GPU-secret-{gpu})\n" + "".join(f"\t Link {link}: 26.562 GB/s\n" for link in range(18))
    for gpu in range(2)
)
TOPOLOGY = (
    "\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tNV18\tPIX\t0-31\t0\t\tN/A\n"
    "GPU1\tNV18\t X \tSYS\t0-31\t0\t\tN/A\n"
    "NIC0\tPIX\tSYS\t X \t\t\t\t\n"
    "\nLegend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks\n"
    "\nNIC Legend:\n\n  NIC0: mlx5_0\n"
)
TORCH = '{"torch": "2.11.0", "cuda": "13.0", "gpus": 2, "distributed": true, "nccl": [2, 28, 9]}\n'


def runner(command):
    """Answer as a host with two H200 does."""
    if command == GPU_QUERY:
        return GPUS
    if "nvlink" in command:
        return NVLINK
    if "topo" in command:
        return TOPOLOGY
    return TORCH


def nothing(command):
    return None


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A PATH without any program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_gpus_query():
    assert [gpu["name"] for gpu in parse_gpus(GPUS)] == ["NVIDIA H200", "NVIDIA H200"]
    assert parse_gpus(GPUS)[0]["driver"] == "580.159.04"
    assert parse_gpus("No devices were found\n") == ()
    assert parse_gpus(None) == ()


def test_nvlinks_data_rate_is_the_data_sheets():
    links, rate_gbps = parse_nvlink(NVLINK)
    assert links == (18, 18)
    # NVIDIA H200 data sheet: NVLink 900 GB/s, both directions together.
    assert rate_gbps == pytest.approx(8 * 900 / 2, rel=1e-3)


def test_nvlink_3_reports_its_data_rate():
    # NVIDIA A100 data sheet: 600 GB/s, both directions together, 12 links.
    text = "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-x)\n" + "".join(f"\t Link {link}: 25 GB/s\n" for link in range(12))
    assert parse_nvlink(text) == ((12,), pytest.approx(8 * 600 / 2))


def test_nvlink_that_is_off_or_unknown():
    assert parse_nvlink("GPU 0: NVIDIA H200 (UUID: x)\n\t Link 0: <inactive>\n") == ((0,), 0.0)
    assert parse_nvlink("GPU 0: NVIDIA L4 (UUID: x)\n") == ((0,), 0.0)
    assert parse_nvlink(None) == ((), None)
    assert parse_nvlink("Unable to determine\n") == ((), None)


def test_the_topology_matrix():
    assert parse_topology(TOPOLOGY) == {"GPU0-GPU1": "NV18", "GPU0-NIC0": "PIX", "GPU1-NIC0": "SYS"}
    assert parse_topology(None) == {}


def test_a_machine_keeps_no_identifiers(tmp_path):
    machine = look(MeasureSettings(), runner, tmp_path)
    assert machine.nvlink is True
    assert machine.torch["nccl"] == [2, 28, 9]
    assert "secret" not in str(machine.details())


def test_nics_of_the_kernels_files(tmp_path):
    port = tmp_path / "sys/class/infiniband/mlx5_0/ports/1"
    port.mkdir(parents=True)
    for name, text in {"rate": "400 Gb/sec (4X NDR)\n", "state": "4: ACTIVE\n", "link_layer": "Ethernet\n"}.items():
        (port / name).write_text(text)
    for name, speed, real in (("eth0", "25000\n", True), ("eth1", "-1\n", True), ("lo", "", False)):
        folder = tmp_path / "sys/class/net" / name
        folder.mkdir(parents=True)
        (folder / "speed").write_text(speed)
        (folder / "operstate").write_text("up\n")
        if real:
            (folder / "device").mkdir()
    nics = find_nics(tmp_path)
    assert [(nic["kind"], nic["name"], nic["rate_gbps"]) for nic in nics] == [
        ("Ethernet", "mlx5_0/1", 400.0),
        ("interface", "eth0", 25.0),
        ("interface", "eth1", None),
    ]
    assert nic_line_rate_gbps(nics) == 400.0


def test_only_nccls_variables_are_kept_and_none_that_names_a_host():
    given = {"HOME": "/home/me", "NCCL_NVLS_ENABLE": "0", "NCCL_HOSTID": "node7", "NCCL_COMM_ID": "10.0.0.1:1"}
    assert nccl_environment(given) == {"NCCL_NVLS_ENABLE": "0", "NCCL_HOSTID": "(set)", "NCCL_COMM_ID": "(set)"}


def test_everything_that_is_missing_is_named(bare):
    machine = look(MeasureSettings(), nothing, bare)
    with pytest.raises(InputError) as error:
        choose_driver(MeasureSettings(), machine)
    places = [fault.where for fault in error.value.faults]
    assert places[:2] == ["GPU", "PyTorch"]
    assert {f"nccl-tests {name}_perf" for name in ("alltoall", "all_gather", "sendrecv", "all_reduce")} <= set(places)
    assert error.value.exit_status == 2


def test_a_run_without_anything_writes_nothing(bare, tmp_path):
    with pytest.raises(InputError):
        measure(MeasureSettings(python=bare / "no-python"), tmp_path / "out.json", lambda line: None)
    assert not (tmp_path / "out.json").exists()


def test_more_ranks_than_gpus_is_named(bare):
    settings = MeasureSettings(ranks=(2, 4))
    with pytest.raises(InputError, match="found 2 on this host; expected 4"):
        choose_driver(settings, look(settings, runner, bare))


def test_one_gpu_is_too_few(bare):
    settings = MeasureSettings()
    machine = look(settings, lambda command: GPUS.splitlines()[0] if command == GPU_QUERY else runner(command), bare)
    with pytest.raises(InputError, match="found 1 on this host; expected 2"):
        choose_driver(settings, machine)


def test_torch_without_cuda_is_named(bare):
    settings = MeasureSettings(driver="torch")
    cpu = TORCH.replace('"gpus": 2', '"gpus": 0').replace("[2, 28, 9]", "null")
    machine = look(settings, lambda command: cpu if "-c" in command else runner(command), bare)
    with pytest.raises(InputError, match="sees no GPU"):
        choose_driver(settings, machine)


def test_nccl_tests_step_in_for_torch(bare):
    folder = bare / "build"
    folder.mkdir()
    for name in ("alltoall", "all_gather", "reduce_scatter", "all_reduce", "broadcast", "sendrecv"):
        program = folder / f"{name}_perf"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    settings = MeasureSettings(nccl_tests=bare)
    machine = look(settings, lambda command: None if "-c" in command else runner(command), bare)
    assert choose_driver(settings, machine) == "nccl-tests"
    over_sockets = MeasureSettings(nccl_tests=bare, path="socket")
    with pytest.raises(InputError, match="mpirun"):
        choose_driver(over_sockets, machine)
