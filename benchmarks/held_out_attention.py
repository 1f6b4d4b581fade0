"""Error of attention times on points held out, by device, kind and phase: interpolated tables, and the fitted roofline alone.

    python benchmarks/held_out_attention.py [--device h200]

Needs the package ``aiconfigurator-core`` (extra ``measured``). With tables, every second value of every coordinate is struck
out of every measured shape (heads, size of a head, window) and predicted from the rest; the roofline is held against the half
of the points that it was not fitted to, as the files of ``zcube/llm/efficiencies`` state, sparse attention against the points
that it was fitted to. Prefill counts from 512 new tokens.
"""

from __future__ import annotations

import argparse

import numpy as np

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.devices import load_device
from zcube.llm.kinds.efficiencies import load_efficiencies, measured_devices
from zcube.llm.tables.held_out import held_out_decode, held_out_prefill
from zcube.llm.tables.held_shapes import KINDS, held_shapes
from zcube.llm.tables.read import SHARED_MODELS, read_attention, table_model
from zcube.llm.tables.source import open_source


def _of_sparse(device, source):
    """Yield kind, phase and pairs of layers with an indexer and of those that share one, both KV types together."""
    own, shared = load_card("glm-5.1"), load_card("glm-5.2").without_indexer
    for kind, card, model in (("sparse", own, table_model(own)), ("shared", shared, SHARED_MODELS["glm-5.2"])):
        for phase, table, held in (("prefill", "context", held_out_prefill), ("decode", "generation", held_out_decode)):
            found = []
            for kv in ("fp8", "bf16"):
                try:
                    points = read_attention(source, table, device.name, kv, model)
                except InputError:
                    continue
                found += held(card, device, kv, points).values()
            if found:
                yield kind, phase, tuple(np.concatenate(column) for column in zip(*found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", action="append")
    arguments = parser.parse_args()
    source = open_source(None)
    print(f"| device | kind | phase | points | tables, median / P90 | roofline, median / P90 |\n{'|---' * 6}|")
    for name in arguments.device or measured_devices():
        device = load_device(name)
        rows = list(_of_sparse(device, source)) + [
            (kind, phase, pairs) for kind in KINDS for phase, pairs in held_shapes(kind, device, source).items()
        ]
        for kind, phase, (ours, measured) in rows:
            error = np.abs(ours / measured - 1)
            if kind == "sparse":
                alone = np.abs(1 / measured - 1)
                plain = f"{100 * np.median(alone):.1f} / {100 * np.quantile(alone, 0.9):.1f} %"
            else:
                stated = load_efficiencies(name, kind).stated_error[f"{phase}_{kind}"]
                plain = f"{100 * stated.median:.1f} / {100 * stated.p90:.1f} %"
            tables = f"{100 * np.median(error):.1f} / {100 * np.quantile(error, 0.9):.1f} %"
            print(f"| {name} | {kind} | {phase} | {len(error):,} | {tables} | {plain} |", flush=True)


if __name__ == "__main__":
    main()
