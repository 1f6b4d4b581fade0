#!/usr/bin/env bash
# aiconfigurator-core 0.12.0: MLA's prefill kernel alone is measured three times as long as the whole attention block around it.
#
# Two tables of the package hold DeepSeek-V3's prefill attention on H200 with SGLang, both in milliseconds: `context_mla_perf` the
# kernel alone (`mla_context`, by heads), `wideep_context_mla_perf` the whole block with its projections. The kernel is a part of the
# block, so that one would expect less time of it. With 128 heads, one prompt and 8,192 or 16,384 tokens it takes 2.4 and 2.9 times
# as long (SGLang 0.5.14 against 0.5.10): its FLOPs fit attention to the latents (2 x 512 + 64 values a head and pair), the decode's form, where the block
# computes keys and values of every head (192 + 128), as SGLang's prefill does. Whoever adds projections to the kernel's rows
# prices long prompts three times too dear.
#
# Seen: aiconfigurator-core 0.12.0: 8192 tokens: kernel 15.3 ms (bf16 15.9), block 6.4 ms; 16384: 60.1 (62.8), 21.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiconfigurator-core==0.12.0 pyarrow
"$work/venv/bin/python" - <<'PY'
import glob
import os
from importlib.metadata import distribution

import pyarrow.parquet as pq

package = distribution("aiconfigurator-core")
folder = str(package.locate_file("aiconfigurator_core/systems/data/h200_sxm/mla/sglang"))


def latency_ms(version, table, kv):
    (path,) = glob.glob(os.path.join(folder, version, f"{table}.parquet"))
    rows = pq.read_table(path).to_pylist()
    keep = {"num_heads": 128, "batch_size": 1, "kv_cache_dtype": kv}
    found = {}
    for row in rows:
        if all(row[key] == value for key, value in keep.items()):
            found[row["isl"]] = min(row["latency"], found.get(row["isl"], 1e9))
    return found


kernel = latency_ms("0.5.14", "context_mla_perf", "fp8")
bf16 = latency_ms("0.5.14", "context_mla_perf", "bfloat16")
block = latency_ms("0.5.10", "wideep_context_mla_perf", "fp8")
for tokens in (8192, 16384):
    print(f"{package.version}: {tokens} tokens: kernel {kernel[tokens]:.1f} ms (bf16 {bf16[tokens]:.1f}), block {block[tokens]:.1f} ms")
    assert kernel[tokens] > 2 * block[tokens] and bf16[tokens] > 2 * block[tokens]
PY
