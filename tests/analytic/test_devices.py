"""Device cards: data sheets with sources, and figures of devices that nobody measured."""

import json

import pytest

from zcube.cli.app import command
from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import (
    DecodeAttention,
    Device,
    Exchange,
    Experts,
    Line,
    PrefillAttention,
    device_names,
    load_device,
    measured_device_names,
)
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kinds.efficiencies import measured_as, measured_devices
from zcube.llm.measured import measure_errors
from zcube.llm.scaled_device import SCALED_ERROR, By
from zcube.llm.stated_error import measured_parts
from zcube.report.device_table import device_text, devices_text

H200, H20, H800 = load_device("h200"), load_device("h20"), load_device("h800")
#: Dense TFLOP/s at eight bits and in bf16, GB, GB/s of memory, GB/s of the scale-up link in one direction, GPUs that it joins,
#: GPUs of a server and of a package; data sheets and papers named in the cards.
PUBLISHED = {
    "h100": (1979, 989, 80, 3350, 450, 8, 8, 1),
    "h800": (1979, 989, 80, 3350, 200, 8, 8, 1),
    "h200": (1979, 989, 141, 4800, 450, 8, 8, 1),
    "h20": (296, 148, 96, 4000, 450, 8, 8, 1),
    "gb200-nvl72": (5000, 2500, 186, 8000, 900, 72, 4, 1),
    "gb300-nvl72": (5000, 2500, 288, 8000, 900, 72, 4, 1),
    "mi300x": (2614.9, 1307.4, 192, 5300, 7 * 64, 8, 8, 1),
    "mi355x": (5033.2, 2516.6, 288, 8000, 7 * 76.8, 8, 8, 1),
    "ascend-910c": (1504 / 2, 752 / 2, 128 / 2, 3200 / 2, 392 / 2, 384 * 2, 16, 2),
}
#: Devices under the names that NVIDIA's package gives to its systems.
SYSTEMS = {
    **{name: f"{name}_sxm" for name in ("h100", "h200", "b200", "b300")},
    **{f"{name}-nvl72": name for name in ("gb200", "gb300")},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name):
    device = load_device(name)
    peak, node = device.peak, device.node
    assert (
        peak.fp8_tflops, peak.bf16_tflops, peak.memory_gbytes, peak.memory_gbytes_per_s, peak.nvlink_gbytes_per_s,
        node.scale_up_gpus, node.gpus, node.gpus_per_package,
    ) == pytest.approx(PUBLISHED[name])  # fmt: skip


@pytest.mark.parametrize(("name", "system"), SYSTEMS.items())
def test_figures_of_nvidias_package(package, name, system):
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((package.folder.parent / f"{system}.yaml").read_text())
    device = load_device(name)
    assert device.peak.fp8_tflops == pytest.approx(told["gpu"]["fp8_tc_flops"] / 1e12, rel=1e-3)
    assert device.peak.bf16_tflops == pytest.approx(told["gpu"]["bfloat16_tc_flops"] / 1e12, rel=1e-3)
    assert device.peak.memory_gbytes_per_s == pytest.approx(told["gpu"]["mem_bw"] / 1e9)
    # The package takes GB for GiB here and there, and what is left of it elsewhere.
    assert device.peak.memory_gbytes == pytest.approx(told["gpu"]["mem_capacity"] / 1e9, rel=0.08)
    assert device.peak.nvlink_gbytes_per_s == pytest.approx(told["node"]["intra_node_bw"] / 1e9)
    assert device.node.gpus == told["node"]["num_gpus_per_node"]
    assert device.node.scale_up_gpus == told["node"].get("num_gpus_per_rack", device.node.gpus)


@pytest.mark.parametrize("name", device_names())
def test_every_card_has_sources_and_says_whether_it_was_measured(name):
    device = load_device(name)
    assert set(device.sources) >= {"peak", "memory", "scale_up", "node"}
    assert device.peak.memory_gbytes is not None
    is_measured = name in measured_device_names()
    for error in device.stated_error.values():
        assert (error.points > 0) == is_measured
        assert error.against.startswith("unmeasured") != is_measured
    assert ("unmeasured" in device_text(device)) != is_measured


def test_scaled_figures_are_those_of_the_measured_device_times_ratios():
    compute, memory = 296 / 1979, 4000 / 4800
    assert H20.prefill["fp8"].linear_tflops == pytest.approx(H200.prefill["fp8"].linear_tflops * compute)
    assert H20.prefill["bf16"].dense_tflops == pytest.approx(H200.prefill["bf16"].dense_tflops * 148 / 989)
    assert H20.experts["fused"].tflops == pytest.approx(H200.experts["fused"].tflops * compute)
    assert H20.experts["fused"].weight_gbytes_per_s == pytest.approx(H200.experts["fused"].weight_gbytes_per_s * memory)
    assert H20.memory.gbytes_per_s == pytest.approx(H200.memory.gbytes_per_s * memory)
    # Decode attention of latents multiplies about as long as it reads on H200; H20 has little to multiply with.
    slower = H200.decode["fp8"].selected_us_per_ktoken / H20.decode["fp8"].selected_us_per_ktoken
    assert slower == pytest.approx(148 / 989)
    assert H20.decode["fp8"].longest_us_per_ktoken == pytest.approx(H200.decode["fp8"].longest_us_per_ktoken / memory)
    assert (H20.decode["fp8"].base_us, H20.padded_heads) == (H200.decode["fp8"].base_us, H200.padded_heads)
    assert H20.links == H200.links.model_copy(update={key: getattr(H20.links, key) for key in type(H20.links).model_fields})
    # Normal mode's were measured on H800.
    for name in ("low_latency_dispatch", "low_latency_combine"):
        fast, slow = getattr(H200.exchanges, name), getattr(H800.exchanges, name)
        assert slow.nvlink_gbytes_per_s == pytest.approx(fast.nvlink_gbytes_per_s * 200 / 450)
        assert (slow.rail_efficiency, slow.base_us) == (fast.rail_efficiency, fast.base_us)
    assert H800.links.all_reduce.gbytes_per_s == pytest.approx(H200.links.all_reduce.gbytes_per_s * 200 / 450)


@pytest.mark.parametrize(("known", "other"), [("h200", "b200"), ("b200", "h200")])
def test_stated_error_of_scaling_covers_the_devices_where_it_can_be_checked(known, other, shared_data, tmp_path):
    peak = load_device(other).peak.model_dump(exclude_none=True)
    rows = "".join(f"{key} = {value}\n" for key, value in peak.items())
    file = tmp_path / "scaled.toml"
    file.write_text(f'name = "{other}"\ndescription = ""\nsource = ""\nscaled_from = "{known}"\n[peak]\n{rows}')
    found = measure_errors(load_card("glm-5.1"), load_device(str(file)), shared_data / "aiconfigurator-glm5")
    assert len(found) == 5
    for operation, error in found.items():
        median, p90 = next(bound for name, bound in SCALED_ERROR.items() if operation.startswith(name))
        assert (error.median <= median, error.p90 <= p90) == (True, True), operation
    # Wide, and not without bound: the widest comes within a fifth of what is stated.
    assert max(error.p90 for error in found.values()) > 0.8 * min(p90 for _, p90 in SCALED_ERROR.values())


SCALED_PEAKS = ("fp8_tflops", "bf16_tflops", "memory_gbytes_per_s", "nvlink_gbytes_per_s")


def device_file(path, **changes):
    tables = {"name": "mine", "description": "", "source": "", "scaled_from": "h200"}
    tables = {**tables, "peak": dict.fromkeys(SCALED_PEAKS, 1), **changes}
    tables = {key: value for key, value in tables.items() if value is not None}
    lines = [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for key, table in tables.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f"{inner} = {json.dumps(value)}" for inner, value in table.items())]
    path.write_text("\n".join(lines))
    return str(path)


def test_own_figures_go_before_scaled_ones(tmp_path):
    device = load_device(device_file(tmp_path / "mine.toml", memory={"base_us": 7}))
    assert device.memory.base_us == 7
    assert device.memory.gbytes_per_s == pytest.approx(H200.memory.gbytes_per_s / 4800)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scaled_from": "h100"}, "a measured device: b200, h200"),
        ({"scaled_from": ["h200"]}, "a measured device"),
        ({"scaled_from": 7}, "a measured device"),
        ({"peak": 3}, "peak"),
        ({"peak": None}, "peak: found nothing"),
        ({"peak": dict.fromkeys(SCALED_PEAKS, 1e-323)}, "memory_gbytes_per_s: found 1e-323"),
        ({"peak": {"fp8_tflops": 0}}, "fp8_tflops"),
        ({"peak": {"fp8_tflops": 1e300, "bf16_tflops": 1}}, "fp8_tflops"),
        ({"memory": 3}, "memory"),
        ({"links": {"all_reduce": -1}}, "all_reduce"),
        ({"nodes": {}}, "nodes"),
        ({"node": {"gpus": 3, "gpus_per_package": 2}}, "whole packages"),
        ({"node": {"gpus": 4, "scale_up_gpus": 6}}, "whole servers"),
        ({"node": {"gpus": 8, "nics": 3}}, "share evenly"),
        ({"node": {"gpus": 1 << 40}}, "gpus"),
    ],
)
def test_broken_device_files_are_refused_by_name(tmp_path, changes, told):
    with pytest.raises(InputError, match=told):
        load_device(device_file(tmp_path / "mine.toml", **changes))


def test_nics_are_shared_evenly_or_several_to_a_gpu():
    assert H20.node.gpu_gbps == 400
    shape = Device.model_fields["node"].annotation
    assert shape(gpus=8, nics=4, nic_gbps=400).gpu_gbps == 200
    assert shape(gpus=8, nics=16, nic_gbps=200).gpu_gbps == 400


def test_verbs(capsys):
    command().main(["device", "list"], standalone_mode=False)
    assert capsys.readouterr().out == devices_text([load_device(name) for name in device_names()])
    command().main(["device", "show", "ascend-910c", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["measured"], told["nic_gbps_per_gpu"], told["card"]["node"]["scale_up"]) == (False, 200.0, "UB")
    command().main(["device", "list", "--json"], standalone_mode=False)
    assert list(json.loads(capsys.readouterr().out)) == device_names()


# ---- measured figures follow the GPU


def card_of(path, name, gpu="h200", **changes):
    peak = {**load_device(gpu).peak.model_dump(exclude_none=True), **changes}
    return device_file(path / "mine.toml", name=name, peak=peak)


@pytest.mark.parametrize("rate", ["fp8_tflops", "bf16_tflops", "memory_gbytes_per_s", "memory_gbytes"])
def test_a_card_named_as_a_bundled_device_has_its_gpu(tmp_path, rate):
    assert load_device(card_of(tmp_path, "h200")).name == "h200"
    half = getattr(H200.peak, rate) / 2
    with pytest.raises(InputError, match=r"mine.toml: name: found 'h200' with the peak of another GPU; expected another name"):
        load_device(card_of(tmp_path, "h200", **{rate: half}))


def test_efficiencies_go_by_the_gpu_and_not_by_the_name(tmp_path):
    assert measured_as(load_device(card_of(tmp_path, "with-other-nics"))) == "h200"
    assert measured_as(load_device(card_of(tmp_path, "rounded", fp8_tflops=1978.9))) == "h200"
    assert measured_as(load_device(card_of(tmp_path, "half", memory_gbytes_per_s=2400))) == "default"
    assert measured_as(load_device(card_of(tmp_path, "gb200", gpu="gb200-nvl72"))) == "gb200-nvl72"
    # H800 is H100 with slower links, and where two fit neither is taken.
    assert measured_as(H800) == "h100"
    both = load_device("gb200-nvl72").peak.model_dump(exclude={"memory_gbytes", "fp4_tflops"}, exclude_none=True)
    assert measured_as(load_device(device_file(tmp_path / "either.toml", peak=both))) == "default"
    for name in measured_devices():
        assert measured_as(load_device(name)) == name
    assert measured_as(H20) == measured_as(load_device("mi300x")) == "default"


def test_compute_times_of_a_card_are_those_of_its_gpu(tmp_path):
    card, engine = load_card("qwen3-235b-a22b"), EngineLayout("tp8", "tp8", kv_dtype="bf16")
    mine = roofline(card, load_device(card_of(tmp_path, "with-other-nics")), engine)
    assert mine.prefill_iteration_s([8192], [0]) == roofline(card, H200, engine).prefill_iteration_s([8192], [0])
    assert "unmeasured" not in mine.name
    assert "unmeasured" in roofline(card, load_device(card_of(tmp_path, "half", memory_gbytes_per_s=2400)), engine).name


def test_every_rate_of_a_device_says_by_what_it_is_scaled():
    undeclared = []
    for model in (PrefillAttention, DecodeAttention, Experts, Line, Exchange):
        for name, field in model.model_fields.items():
            declares = any(isinstance(one, By) for one in field.metadata)
            if ("tflops" in name or "per_s" in name or "per_ktoken" in name or name in ("source", "kernel")) != declares:
                undeclared.append(f"{model.__name__}.{name}")
    assert undeclared == []


def test_what_was_measured_is_told_by_kind():
    assert (measured_parts(load_device("b200"))["exchanges"]["combine"], measured_parts(H800)["collectives"]["gather"]) == (
        False,
    ) * 2
    assert measured_parts(H200) == {key: dict.fromkeys(parts, True) for key, parts in measured_parts(H200).items()}
    h100 = measured_parts(load_device("h100"))
    assert (h100["attention"]["sparse"], h100["attention"]["grouped"]) == (False, True)
    assert not any([*h100["experts"].values(), *h100["collectives"].values()])
    assert any(measured_parts(H800)["exchanges"].values()) and not all(measured_parts(H800)["exchanges"].values())
    assert not any(any(parts.values()) for parts in measured_parts(load_device("mi300x")).values())
    rows = {line.split()[0]: line.split()[-5:] for line in devices_text([H200, load_device("h100"), H800]).splitlines()[1:]}
    assert rows["h200"] == ["yes", "yes", "yes", "yes", "-"]
    assert rows["h100"][-1] == "h200" and "not measured: sparse" in device_text(load_device("h100"))
