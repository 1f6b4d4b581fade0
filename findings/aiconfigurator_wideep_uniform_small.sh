#!/usr/bin/env bash
# aiconfigurator-core 0.12.0: DeepEP's prefill experts at few tokens: the row `uniform` reads only some of the weights.
#
# Table h200_sxm/moe/sglang/0.5.10/wideep_context_moe_perf (kernel `deepepmoe`, hidden 7168, 256 experts of 2048, FP8). With EP4
# a GPU holds 64 experts of 3 x 7168 x 2048 bytes, 2.8 GB, which an H200 (4.8 TB/s) reads in 0.59 ms at best. Whoever hands each
# expert a token has to read all of them, as the rows of the power laws show (0.97 to 1.00 ms at 64 tokens). The row `uniform`
# says 0.390 ms: faster than the weights can be read. An even load at few tokens a GPU is the common case of a lightly loaded
# prefill, so that a roofline fitted to these rows comes out below the memory's own time.
#
# Seen: aiconfigurator-core 0.12.0: 64 tokens, EP4: uniform 0.390 ms, power laws 0.973 to 0.999 ms, weights alone 0.587 ms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps aiconfigurator-core==0.12.0 pyarrow==26.0.1
cat > "$work/look.py" <<'PY'
from importlib.metadata import files, version

import pyarrow.parquet as parquet

(path,) = [
    file.locate() for file in files("aiconfigurator-core")
    if str(file).endswith("systems/data/h200_sxm/moe/sglang/0.5.10/wideep_context_moe_perf.parquet")
]
rows = [row for row in parquet.read_table(path).to_pylist() if (row["moe_ep_size"], row["num_tokens"]) == (4, 64)]
times_ms = {row["distribution"]: row["latency"] for row in rows}
experts = rows[0]["num_experts"] // 4
weights_ms = 1e3 * experts * 3 * rows[0]["hidden_size"] * rows[0]["inter_size"] / 4.8e12
skewed_ms = [time_ms for name, time_ms in times_ms.items() if name != "uniform"]
print(
    f"aiconfigurator-core {version('aiconfigurator-core')}: 64 tokens, EP4: uniform {times_ms['uniform']:.3f} ms, power laws "
    f"{min(skewed_ms):.3f} to {max(skewed_ms):.3f} ms, weights alone {weights_ms:.3f} ms"
)
assert times_ms["uniform"] < weights_ms < min(skewed_ms)
PY
"$work/venv/bin/python" "$work/look.py"
