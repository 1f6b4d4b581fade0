"""Fit zcube/llm/efficiencies/*.toml to every second point of aiconfigurator's tables, and state the error of the others.

    python benchmarks/fit_attention.py [--device h200] [--write]

Needs the package ``aiconfigurator-core`` (extra ``measured``) and scipy. ``default.toml`` is one set of efficiencies for all
devices together; its errors are those of every device under it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from zcube.errors import InputError
from zcube.llm.cards import NO_CHOICE, load_card
from zcube.llm.devices import DecodeAttention, PrefillAttention, load_device
from zcube.llm.kinds import efficiencies as kinds
from zcube.llm.kinds.grouped import HeadShape, pairs, read_rates, score_s
from zcube.llm.kinds.latent import block_s, step_fixed_s, step_token_s
from zcube.llm.kinds.linear import StateShape, chunks_s, state_s
from zcube.llm.kv import KvLayout, latent_row_bytes
from zcube.llm.measured import model_decode_s, model_prefill_s
from zcube.llm.tables.kernels import halves, read_blocks, read_gemms, read_heads, read_states
from zcube.llm.tables.read import read_attention, shared_model
from zcube.llm.tables.source import open_source

CARD = load_card("deepseek-v3")
LEAST_TOKENS = 512
#: More than an iteration computes; beyond, the kernels of linear attention leave the cache by far.
MOST_LINEAR_TOKENS = 1 << 17
FOLDER = Path(kinds.__file__).resolve().parents[1] / "efficiencies"
#: Devices with tables.
DEVICES = ("h100", "h200", "b200", "b300", "gb200-nvl72", "gb300-nvl72")


def fit(model_class, start, parts):
    """Fit positive figures to several devices' points: ``parts`` has (seconds of figures, measured) by device."""
    names = list(start)
    low, high = np.array([_bounds(name) for name in names]).T
    first = np.clip(np.log(list(start.values())), np.log(low) + 1e-6, np.log(high) - 1e-6)

    def figures(x):
        return model_class(**{name: float(f"{value:.4g}") for name, value in zip(names, np.exp(x))})

    def loose(x):
        return model_class.model_construct(**dict(zip(names, np.exp(x))))

    def residual(x):
        return np.concatenate([np.log(model(loose(x)) / seconds) / np.sqrt(len(seconds)) for model, seconds in parts])

    weight = np.sqrt(sum(len(seconds) for _, seconds in parts) / len(parts))
    found = least_squares(
        lambda x: weight * residual(x), first, bounds=(np.log(low), np.log(high)), loss="soft_l1", f_scale=0.05
    )
    return figures(found.x)


def _bounds(name):
    if name.endswith("_share"):
        return 0.005, 1.2
    if name.endswith(("_tflops", "_gbytes_per_s")):
        return 10, 20_000
    return {"tile_tokens": (1, 512), "row_units": (1, 1000)}.get(name, (1e-5, 5000))


def stated(all_errors, against):
    error = np.concatenate(all_errors)
    return {
        "median": round(float(np.median(error)), 4), "p90": round(float(np.quantile(error, 0.9)), 4),
        "mape": round(float(error.mean()), 4), "points": len(error), "against": against,
    }  # fmt: skip


class Fit:
    """One fit over some devices: half of the points of each given, the others held against it."""

    def __init__(self, devices, source):
        self.devices, self.source = devices, source

    def tables(self, read, *arguments):
        """Return data sheet and points of every device that has a table."""
        found = []
        for device in self.devices:
            try:
                found.append((load_device(device).peak, read(self.source, *arguments[:1], device, *arguments[1:])))
            except InputError as error:
                print(f"# {device}: {error}")
        return found

    def run(self, model_class, start, tables, model, keep=None):
        """Return the figures fitted to half of the points, and the errors on the others by device."""
        parts, out = [], []
        for peak, points in tables:
            if keep is not None:
                points = points.rows(keep(points))
            if len(points.seconds) < 8:
                continue
            given, other = (points.rows(half) for half in halves(points))
            parts.append((lambda figures, peak=peak, given=given: model(figures, peak, given), given.seconds))
            out.append((peak, other))
        if not parts:
            return None, []
        figures = fit(model_class, start, parts)
        return figures, [np.abs(model(figures, peak, points) / points.seconds - 1) for peak, points in out]


def shape_of(points, kv):
    return HeadShape(points.heads, points.kv_heads, points.head_dim, points.head_dim, 1 if kv == "fp8" else 2)


def scores(kv):
    def model(figures, peak, points):
        window = np.where(points.window > 0, points.window, NO_CHOICE)
        per_head = points.batch * pairs(points.tokens, 0, window)
        edges = np.where(points.window > 0, 2, 1)
        longest = np.minimum(points.tokens, window)
        return score_s(figures, peak, shape_of(points, kv), per_head, points.batch * points.tokens, longest, edges)

    return model


def steps(kv):
    def model(figures, peak, points):
        base_s, request_s, token_s, longest_s = read_rates(figures, peak, shape_of(points, kv))
        attended = np.minimum(points.tokens + 1, np.where(points.window > 0, points.window, NO_CHOICE))
        longest = np.where(points.window > 0, 0, points.tokens)
        return base_s + points.batch * (request_s + attended * token_s) + longest * longest_s

    return model


def fit_heads(run, kind):
    found, all_errors = {}, {"prefill": [], "decode": []}
    for kv in ("fp8", "bf16"):
        context, generation = (run.tables(read_heads, phase, kv) for phase in ("context", "generation"))
        sizes = sorted({int(size) for _, points in context for size in np.unique(points.head_dim)})
        for size in sizes:

            def chosen(points, size=size):
                return (points.head_dim == size) & ((points.window > 0) == (kind == "window"))

            def enough(points, chosen=chosen):
                return chosen(points) & (points.batch * points.tokens >= LEAST_TOKENS)

            start = {"base_us": 10, "tile_tokens": 128, "row_units": 100, "peak_share": 0.6, "memory_share": 0.5}
            prefill, error = run.run(kinds.ScoreEfficiency, start, context, scores(kv), enough)
            if prefill is None:
                continue
            start = {"base_us": 10, "request_us": 0.02, "memory_share": 0.8, "longest_us_per_ktoken": 0.1}
            if kind == "window":
                del start["longest_us_per_ktoken"]
            step_class = kinds.StepEfficiency if kind == "grouped" else _with(kinds.StepEfficiency, longest_us_per_ktoken=0)
            decode, step_error = run.run(step_class, start, generation, steps(kv), chosen)
            if decode is None:
                continue
            all_errors["prefill"] += error
            all_errors["decode"] += step_error
            found.setdefault(kv, {})[size] = kinds.GroupedEfficiency(prefill=prefill, decode=decode)
            print(f"# {kind} {kv} {size}: prefill {_median(error)}, decode {_median(step_error)}")
    return found, all_errors


def fit_shared(device, source):
    """Fit a device's layers that share an indexer (GLM-5.2), from where its layers with one were fitted."""
    card, found, all_errors = load_card("glm-5.2").without_indexer, {}, {"prefill": [], "decode": []}
    for kv in ("fp8", "bf16"):
        tables = []
        for table in ("context", "generation"):
            try:
                points = read_attention(source, table, device.name, kv, shared_model(card))
            except InputError as error:
                print(f"# {device.name}: {error}")
                return {}, {}
            tables.append((device, points.rows(points.batch * points.new_tokens >= (table == "context") * LEAST_TOKENS)))
        own = device.prefill[kv].model_dump()
        all_slots = own.pop("computes_all_slots")
        for name in ("index_tflops", "gather_gbytes_per_s"):
            del own[name]
        fixed = {"computes_all_slots": all_slots, "index_tflops": 1, "gather_gbytes_per_s": 1}
        prefill, error = Fit([], source).run(
            _with(PrefillAttention, **fixed), {name: value or 1 for name, value in own.items()}, tables[:1],
            lambda figures, device, points: model_prefill_s(card, figures, points, device.padded_heads),
        )  # fmt: skip
        start = device.decode[kv].model_dump()
        unused = {name: start.pop(name) for name in ("longest_us_per_ktoken", "context_us_per_ktoken")}
        decode, step_error = Fit([], source).run(
            _with(DecodeAttention, **dict.fromkeys(unused, 0)), {name: value or 1 for name, value in start.items()}, tables[1:],
            lambda figures, device, points: model_decode_s(card, figures, points, device.padded_heads),
        )  # fmt: skip
        print(f"# shared {kv}: prefill {_median(error)}, decode {_median(step_error)}")
        found[kv] = kinds.SharedIndex(prefill=prefill, decode=decode)
        all_errors["prefill"] += error
        all_errors["decode"] += step_error
    return found, all_errors


def _with(model_class, **fixed):
    """Return what builds figures of which some are given."""

    class Part:
        def __new__(cls, **values):
            return model_class(**fixed, **values)

        @staticmethod
        def model_construct(**values):
            return model_class.model_construct(**fixed, **values)

    return Part


def fit_latent(run):
    context, generation = (run.tables(read_blocks, phase) for phase in ("context", "generation"))

    def block(figures, peak, points):
        tokens = points.batch * points.tokens
        return block_s(CARD, figures, peak, points.heads, tokens, points.batch * pairs(points.tokens, 0))[0]

    def step(figures, peak, points):
        token_s = step_token_s(CARD, figures, peak, points.heads, latent_row_bytes(CARD, KvLayout("fp8")))
        fixed_s = step_fixed_s(CARD, figures, peak, points.heads, points.batch)
        longest_s = figures.longest_us_per_ktoken * 1e-6 / 1024 * points.tokens
        return fixed_s + points.batch * (points.tokens + 1) * token_s + longest_s

    start = {"floor_us": 500, "base_us": 50, "linear_share": 0.6, "attention_share": 0.5}
    prefill, error = run.run(
        kinds.LatentPrefill, start, context, block, lambda points: points.batch * points.tokens >= LEAST_TOKENS
    )
    start = {
        "base_us": 70, "weight_share": 0.6, "linear_share": 0.5, "request_us": 0.1, "memory_share": 0.8,
        "attention_share": 0.6, "longest_us_per_ktoken": 0.5,
    }  # fmt: skip
    decode, step_error = run.run(kinds.LatentStep, start, generation, step)
    if prefill is None or decode is None:
        return None, {}
    print(f"# latent: prefill {_median(error)}, decode {_median(step_error)}")
    return kinds.LatentEfficiency(prefill=prefill, decode=decode), {"prefill": error, "decode": step_error}


def fit_linear(run):
    context, generation = (run.tables(read_states, phase) for phase in ("context", "generation"))

    def shape(points):
        return StateShape(points.key_heads, points.value_heads, int(points.key_dim[0]), int(points.value_dim[0]))

    def chunks(figures, peak, points):
        return chunks_s(figures, peak, shape(points), points.batch * points.tokens, points.tokens)

    def state(figures, peak, points):
        return state_s(figures, peak, shape(points), points.batch)

    def usual(points):
        return (points.batch * points.tokens >= LEAST_TOKENS) & (points.batch * points.tokens <= MOST_LINEAR_TOKENS)

    start = {"base_us": 35, "chunk_us": 2, "peak_share": 0.1, "memory_share": 0.1, "cache_mbytes": 50}
    prefill, error = run.run(_Part, start, context, chunks, usual)
    decode, step_error = run.run(_Part, {"step_us": 6, "state_share": 0.6}, generation, state)
    if prefill is None or decode is None:
        return None, {}
    print(f"# linear: prefill {_median(error)}, decode {_median(step_error)}")
    values = prefill.model_dump() | {key: getattr(decode, key) for key in ("step_us", "state_share")}
    return kinds.LinearEfficiency(**values), {"prefill": error, "decode": step_error}


class _Part:
    """Some of the figures of linear attention; the others are 1."""

    def __new__(cls, **values):
        return kinds.LinearEfficiency(**dict.fromkeys(kinds.LinearEfficiency.model_fields, 1) | values)

    model_construct = staticmethod(kinds.LinearEfficiency.model_construct)


def fit_gemm(run):
    tables = run.tables(lambda source, device: read_gemms(source, device))

    def model(figures, peak, points):
        parameters = points.outputs * points.inputs
        flops_s = 2 * parameters * points.tokens / (figures.peak_share * peak.fp8_tflops * 1e12)
        return figures.base_us * 1e-6 + np.maximum(
            parameters / (figures.memory_share * peak.memory_gbytes_per_s * 1e9), flops_s
        )

    start = {"base_us": 5, "peak_share": 0.6, "memory_share": 0.7}
    figures, error = run.run(
        kinds.GemmEfficiency, start, tables, model, lambda points: (points.outputs >= 512) & (points.inputs >= 512)
    )
    print(f"# gemm: {_median(error)}")
    return figures, error


def _median(error):
    return f"{np.median(np.concatenate(error)):.3f}" if error else "-"


def fitted(name, devices, source):
    run = Fit(devices, source)
    gemm, gemm_error = fit_gemm(run)
    version = source.label
    against = f"the other half of the points of NVIDIA {version}, " + (
        devices[0] if len(devices) == 1 else f"{', '.join(devices)} under one set of efficiencies"
    )
    values = {
        "source": f"fit to every second point of NVIDIA {version} (Apache-2.0), SGLang's tables of {', '.join(devices)}",
        "gemm": gemm, "stated_error": {"gemm": stated(gemm_error, against)},
    }  # fmt: skip
    for kind in ("grouped", "window"):
        values[kind], found = fit_heads(run, kind)
        values["stated_error"] |= {f"{phase}_{kind}": stated(error, against) for phase, error in found.items() if error}
    if len(devices) == 1:
        values["shared"], found = fit_shared(load_device(devices[0]), source)
        values["stated_error"] |= {f"{phase}_shared": stated(error, against) for phase, error in found.items() if error}
    for kind, fit_kind in (("latent", fit_latent), ("linear", fit_linear)):
        values[kind], found = fit_kind(run)
        values["stated_error"] |= {f"{phase}_{kind}": stated(error, against) for phase, error in found.items() if error}
    return kinds.Efficiencies(**values)


def as_toml(found):
    """Return a file's text, a table a kernel."""
    lines = [
        "# Fitted by benchmarks/fit_attention.py; the forms stand in zcube/llm/kinds, the units in the keys.",
        f'source = "{found.source}"', "", "[gemm]", *_lines(found.gemm),
    ]  # fmt: skip
    for kind in ("grouped", "window"):
        for kv, sizes in getattr(found, kind).items():
            for size, kernels in sizes.items():
                for phase in ("prefill", "decode"):
                    lines += ["", f"[{kind}.{kv}.{size}.{phase}]", *_lines(getattr(kernels, phase))]
    for kv, blocks in found.shared.items():
        for phase in ("prefill", "decode"):
            lines += ["", f"[shared.{kv}.{phase}]", *_lines(getattr(blocks, phase))]
    if found.latent:
        for phase in ("prefill", "decode"):
            lines += ["", f"[latent.{phase}]", *_lines(getattr(found.latent, phase))]
    if found.linear:
        lines += ["", "[linear]", *_lines(found.linear)]
    for operation, error in found.stated_error.items():
        lines += ["", f"[stated_error.{operation}]", *_lines(error)]
    return "\n".join(lines) + "\n"


def _lines(values):
    return [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value:g}" for key, value in values.model_dump().items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=[*DEVICES, "default"], action="append")
    parser.add_argument("--write", action="store_true", help="write the files, else print them")
    arguments = parser.parse_args()
    source = open_source(None)
    for name in arguments.device or [*DEVICES, "default"]:
        devices = list(DEVICES) if name == "default" else [name]
        text = as_toml(fitted(name, devices, source))
        if arguments.write:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.toml").write_text(text)
        else:
            print(text)


if __name__ == "__main__":
    main()
