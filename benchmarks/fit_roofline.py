"""Fit the figures of zcube/llm/devices/*.toml to NVIDIA aiconfigurator's tables and print them with their errors.

    python benchmarks/fit_roofline.py --data FOLDER_WITH_TABLES [--device h200]

Experts behind DeepEP are fitted to DeepSeek-V3's tables of the package ``aiconfigurator-core`` (extra ``measured``).

Every figure is fitted in the logarithm of the time with a soft-L1 loss, so that relative errors count and outliers do
not rule; rates stay below the data sheet's peak. Needs scipy.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from zcube.llm import measured
from zcube.llm.cards import load_card
from zcube.llm.devices import EXPERT_KERNELS, DecodeAttention, ExpertBalance, Experts, PrefillAttention, load_device
from zcube.llm.expert_traffic import (
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.node_links import resident_share
from zcube.llm.tables.read import read_deepep_experts
from zcube.llm.tables.source import open_source
from zcube.node import GPUS_PER_NODE

CARD = load_card("glm-5.1")
AGAINST = "the fitted points"


def fit(start, bounds, residual):
    """Fit positive parameters by name, in the logarithm; return them rounded to four digits."""
    names = list(start)
    low, high = np.log([bounds[name] for name in names]).T
    first = np.clip(np.log([start[name] for name in names]), low + 1e-6, high - 1e-6)
    found = least_squares(
        lambda x: residual(dict(zip(names, np.exp(x)))), first, bounds=(low, high), loss="soft_l1", f_scale=0.05
    )
    return {name: float(f"{value:.4g}") for name, value in zip(names, np.exp(found.x))}


def fit_prefill(device, folder, kv):
    table = measured.read_prefill(folder, device.name, kv)
    start = {
        "dense_floor_us": 900, "sparse_floor_us": 1500, "dense_base_us": 50, "sparse_base_us": 200,
        "linear_tflops": 1000, "dense_tflops": 400, "sparse_tflops": 500, "index_tflops": 700,
        "gather_gbytes_per_s": 150,
    }  # fmt: skip
    bounds = {name: (1e-1, 1e4) for name in start} | {
        "linear_tflops": (10, device.peak.fp8_tflops), "dense_tflops": (10, device.peak.bf16_tflops),
        "sparse_tflops": (10, device.peak.bf16_tflops), "index_tflops": (10, device.peak.fp8_tflops),
        "gather_gbytes_per_s": (1, device.peak.memory_gbytes_per_s),
    }  # fmt: skip
    best = None
    for all_slots in (False, True):

        def model(values, all_slots=all_slots):
            figures = PrefillAttention.model_construct(**values, computes_all_slots=all_slots)
            return measured.model_prefill_s(CARD, figures, table, device.padded_heads)

        values = fit(start, bounds, lambda x: np.log(model(x) / table.seconds))
        error = measured.relative_error(model(values), table.seconds, AGAINST)
        if best is None or error.mape < best[1].mape:
            best = values | {"computes_all_slots": str(all_slots).lower()}, error
    return best


def fit_decode(device, folder, kv):
    table = measured.read_decode(folder, device.name, kv)
    start = {
        "base_us": 60, "sparse_base_us": 8, "weight_gbytes_per_s": 3000, "linear_tflops": 800, "request_us": 0.5,
        "selected_us_per_ktoken": 0.2, "longest_us_per_ktoken": 0.4, "context_us_per_ktoken": 0.05,
    }  # fmt: skip
    bounds = {name: (1e-4, 1e3) for name in start} | {
        "weight_gbytes_per_s": (100, device.peak.memory_gbytes_per_s), "linear_tflops": (10, device.peak.fp8_tflops),
    }  # fmt: skip

    def model(values):
        return measured.model_decode_s(CARD, DecodeAttention.model_construct(**values), table, device.padded_heads)

    values = fit(start, bounds, lambda x: np.log(model(x) / table.seconds))
    return values, measured.relative_error(model(values), table.seconds, AGAINST)


def fit_experts(kernel, device, table):
    uneven = ("power_law_1.01", "power_law_1.2")
    start = {
        "base_us": 40, "weight_gbytes_per_s": 4000, "tflops": 700, "corner": 1.5, "activation_gbytes_per_s": 1500,
        **{f"straggler {name}": 0.2 for name in uneven}, **{f"breadth {name}": 0.9 for name in uneven}, "growth": 0.7,
    }  # fmt: skip
    if kernel == "deepep_normal":  # the only one that was not captured in a CUDA graph
        start["floor_us"] = 1e6 * float(table.seconds.min())
    if kernel == "deepep_low_latency":  # measured at the small batches at which it matters
        start |= {"evenness": 0.5, **{f"breadth {name}": 6 for name in uneven}}
    bounds = {name: (1e-2, 1e4) for name in start} | {
        "weight_gbytes_per_s": (100, device.peak.memory_gbytes_per_s), "tflops": (10, device.peak.fp8_tflops),
        "activation_gbytes_per_s": (100, 1e5), "corner": (1, 10), "growth": (0.05, 2), "evenness": (0.05, 1),
    }  # fmt: skip
    bounds = {name: bounds[name] for name in start}

    def figures(values):
        shape = {"growth": values["growth"], "evenness": values.get("evenness", 1)}
        plain = {"floor_us": 0} | {key: value for key, value in values.items() if " " not in key and key not in shape}
        balance = {"balanced": ExpertBalance(even=True, straggler=0, growth=1, breadth=1, evenness=1)}
        for name in uneven:
            straggler, breadth = values[f"straggler {name}"], values[f"breadth {name}"]
            balance[name] = ExpertBalance(even=False, straggler=straggler, breadth=breadth, **shape)
        return Experts(kernel=kernel, **plain, balance=balance)

    def model(values):
        return measured.model_experts_s(figures(values), table)

    values = fit(start, bounds, lambda x: np.log(model(x) / table.seconds))
    return values, measured.relative_error(model(values), table.seconds, AGAINST)


def fit_line(size_bytes, seconds):
    """Fit base and rate of one collective; return the figures and the error."""
    size, measured_s = np.asarray(size_bytes, float), np.asarray(seconds, float)
    line = lambda x: x["base_us"] * 1e-6 + size / x["gbytes_per_s"] * 1e-9  # noqa: E731
    values = fit(
        {"base_us": 10, "gbytes_per_s": 300},
        {"base_us": (0.1, 1e3), "gbytes_per_s": (1, 1e4)},
        lambda x: np.log(line(x) / measured_s),
    )
    return values, measured.relative_error(line(values), measured_s, AGAINST)


def fit_links(device, folder):
    """Yield the collectives that have a table for this device."""
    reduce = pd.read_csv(folder / f"{device.name}_sxm_custom_allreduce.csv")
    graph = reduce.query("num_gpus == 8 and message_size >= 1024 and backend == 'sglang_graph'")
    # Sizes are fp16 elements. Decode batches stay below a million of them, prefill chunks above.
    for name, part in (("decode_all_reduce", "message_size <= 1048576"), ("all_reduce", "message_size >= 1048576")):
        rows = graph.query(part)
        yield name, *fit_line(rows["message_size"] * 2, rows["latency"] * 1e-3)
    nccl = folder / f"{device.name}_sxm_nccl_2.29.2.csv"
    if nccl.is_file():
        rows = pd.read_csv(nccl).query("num_gpus == 8 and nccl_dtype == 'half' and message_size >= 262144")
        rows = rows[rows["op_name"].isin(["all_gather", "reduce_scatter"])]
        yield "gather", *fit_line(rows["message_size"] * 2, rows["latency"] * 1e-3)
    normal, low = (folder / f"{device.name}_sxm_deepep_{kind}.csv" for kind in ("normal", "ll"))
    if normal.is_file() and low.is_file():
        yield from fit_deepep(pd.read_csv(normal), pd.read_csv(low))


def fit_deepep(normal, low):
    peers = (GPUS_PER_NODE - 1) / GPUS_PER_NODE
    model = "hidden_size == 6144 and num_experts == 256 and num_topk == 8 and node_num == 1"
    normal = normal.query(model + " and dispatch_sms == 20 and combine_sms == 20 and num_token <= 16384")
    copies = normal["num_token"] * GPUS_PER_NODE * resident_share(CARD, GPUS_PER_NODE) * peers
    yield "dispatch", *fit_line(copies * normal_dispatch_bytes(6144), normal["dispatch_transmit_us"] * 1e-6)
    yield "combine", *fit_line(copies * normal_combine_bytes(6144), normal["combine_transmit_us"] * 1e-6)
    low = low.query(model + " and num_token <= 256")
    sent = low["num_token"] * 8 * peers
    yield "low_latency_dispatch", *fit_line(sent * low_latency_dispatch_bytes(6144), low["dispatch_avg_t_us"] * 1e-6)
    yield "low_latency_combine", *fit_line(sent * low_latency_combine_bytes(6144), low["combine_avg_t_us"] * 1e-6)


def show(title, values, error):
    print(f"[{title}]")
    for key, value in values.items():
        print(f"{key} = {value}")
    error = replace(error, **{key: float(f"{getattr(error, key):.3g}") for key in ("median", "p90", "mape")})
    print(f"# median {error.median} p90 {error.p90} mape {error.mape} over {error.points} points\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the aiconfigurator GLM-5 CSV tables")
    parser.add_argument("--device", action="append", choices=["h200", "b200"])
    arguments = parser.parse_args()
    for name in arguments.device or ["h200", "b200"]:
        device = load_device(name)
        print(f"# ---- {name}")
        for kv in ("fp8", "bf16"):
            show(f"prefill.{kv}", *fit_prefill(device, arguments.data, kv))
            show(f"decode.{kv}", *fit_decode(device, arguments.data, kv))
        package = open_source(None)
        show("experts.fused", *fit_experts("fused", device, measured.read_experts(arguments.data, device.name)))
        for kernel in EXPERT_KERNELS[1:]:
            table = read_deepep_experts(package, device.name, kernel)
            show(f"experts.{kernel}", *fit_experts(kernel, device, table))
        for title, values, error in fit_links(device, arguments.data):
            show(f"links.{title}", values, error)
        print("# errors of the figures now in the device file")
        errors = measured.measure_errors(CARD, device, arguments.data) | measured.measure_deepep_errors(device, package)
        for key, error in errors.items():
            print(f"# {key}: {error}")


if __name__ == "__main__":
    main()
