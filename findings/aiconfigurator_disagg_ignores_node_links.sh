#!/usr/bin/env bash
# aiconfigurator 0.12.0: a disaggregated estimate does not change when the links between its nodes get a thousand times slower.
#
# `cli estimate --estimate-mode disagg` of DeepSeek-V3 with eight prefill and eight decode GPUs, two nodes of H200: every prompt's
# KV cache has to cross from one to the other. The system file has `inter_node_bw` (50 GB/s a GPU) and DeepEP's exchanges over
# nodes go by it, so that one would expect the estimate to count these bytes by it as well. It counts none: request latency is
# TTFT + TPOT x (tokens - 1) to the last digit, and on a copy of the system files with 50 MB/s, over which 4,000 tokens of KV
# (281 MB in bf16) would take 0.7 s by all eight GPUs and 5.6 s by one, all three stay the same.
#
# Seen: aiconfigurator 0.12.0: TTFT 334.714 ms, TPOT 28.310 ms, request latency 28616.404 ms at 50 GB/s; the same at 50 MB/s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiconfigurator==0.12.0 aiconfigurator-core==0.12.0
systems=$("$work/venv/bin/python" -c 'import aiconfigurator_core, pathlib; print(pathlib.Path(aiconfigurator_core.__file__).parent / "systems")')
mkdir "$work/slow"
cp "$systems"/*.yaml "$work/slow"
ln -s "$systems/data" "$work/slow/data"
sed -i -E 's/^( *inter_node_bw: ).*/\15.0e7/' "$work/slow/h200_sxm.yaml"
estimate() {
    "$work/venv/bin/aiconfigurator" cli estimate --systems-paths "$1" --model-path deepseek-ai/DeepSeek-V3 --estimate-mode disagg \
        --system h200_sxm --backend sglang --isl 4000 --osl 1000 --no-color \
        --prefill-tp-size 8 --prefill-moe-tp-size 8 --prefill-moe-ep-size 1 --prefill-batch-size 1 --prefill-num-workers 1 \
        --decode-tp-size 8 --decode-moe-tp-size 8 --decode-moe-ep-size 1 --decode-batch-size 16 --decode-num-workers 1 \
        2> /dev/null | sed -nE 's/^ *(TTFT|TPOT|Request Latency): +([0-9.]+) ms$/\2/p' | tr '\n' ' '
}
read -r ttft_ms tpot_ms latency_ms <<< "$(estimate "$systems")"
slow=$(estimate "$work/slow")
echo "aiconfigurator 0.12.0: TTFT $ttft_ms ms, TPOT $tpot_ms ms, request latency $latency_ms ms at 50 GB/s; at 50 MB/s $slow"
[ "$slow" = "$ttft_ms $tpot_ms $latency_ms " ]
"$work/venv/bin/python" -c "assert abs($ttft_ms + 999 * $tpot_ms - $latency_ms) < 1"
