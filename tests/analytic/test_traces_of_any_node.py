"""Generated traces on nodes of other sizes than eight GPUs: groups, bytes and ranks in closed form, and what is refused."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.kv import KvLayout, bytes_per_token
from zcube.llm.schedules.engines import generate
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.normal_plan import NormalPlan
from zcube.llm.schedules.options import EngineOptions
from zcube.trace.comm_trace import CommTrace

GLM, LLAMA = load_card("glm-5.1"), load_card("llama-3.1-405b")
#: Devices whose scale-up link joins so many GPUs.
DEVICES = {4: "b200", 16: "gb200-nvl72", 72: "gb200-nvl72", 384: "ascend-910c"}


def trace_of(engine: str, gpus: int, card=GLM, **options: object) -> CommTrace:
    return generate(engine, card, EngineOptions(gpus_per_node=gpus, device=DEVICES[gpus], layers=4, **options))


def named(trace: CommTrace, name: str, phase: str) -> np.ndarray:
    return (trace.name == trace.names.index(name)) & (trace.phase == trace.phases.index(phase))


@pytest.mark.parametrize("gpus", [4, 16])
def test_tensor_parallel_nodes_reduce_among_all_their_gpus(gpus):
    trace = trace_of("vllm", gpus, LLAMA, new_tokens=1000, prefill_nodes=2, requests=2)
    assert (trace.ranks, trace.ranks_per_node) == (3 * gpus, gpus)
    reduces = named(trace, "all-reduce", "prefill")
    assert reduces.sum() == 2 * 2 * 4
    assert set(trace.size_bytes[reduces]) == {1000 * 2 * LLAMA.hidden}
    groups = {tuple(trace.groups[group]) for group in trace.group[reduces]}
    assert groups == {tuple(range(gpus)), tuple(range(gpus, 2 * gpus))}


@pytest.mark.parametrize("gpus", [4, 16])
def test_context_parallel_nodes_pad_tokens_to_their_gpus(gpus):
    trace = trace_of("sglang", gpus, new_tokens=1001, decode_nodes=0)
    scattered = named(trace, "reduce-scatter", "prefill")
    assert set(trace.size_bytes[scattered]) == {-(-1001 // gpus) * gpus * 2 * GLM.hidden}
    split = trace_of("sglang", gpus, new_tokens=1001, decode_nodes=0, prefill_layout=f"cp{gpus}-layersplit")
    assert named(split, "broadcast", "prefill").sum() == 4


@pytest.mark.parametrize("gpus", [4, 16, 72, pytest.param(384, marks=pytest.mark.slow)])
def test_experts_are_spread_over_all_gpus_of_all_nodes(gpus):
    trace = trace_of("sglang", gpus, prefill_layout=f"dp{gpus}", prefill_nodes=2, decode_nodes=0, new_tokens=gpus * 64,
                     requests=2)  # fmt: skip
    assert trace.ranks == 2 * gpus
    rails = named(trace, "dispatch", "prefill")
    source, target = trace.source[rails], trace.target[rails]
    # Over the rail: the same GPU of the other node, whatever the size of nodes.
    assert ((source - target) % gpus == 0).all()
    plan = NormalPlan(ExpertRouting(GLM, 2, gpus_per_node=gpus))
    tokens = np.full(2 * gpus, 64)
    expected = sum(int(np.round(reached * plan.dispatch_bytes).sum()) for reached in plan.tokens_reaching(0, 0, tokens)[:1])
    one_layer = rails & (trace.layer == GLM.first_dense_layers)
    assert trace.size_bytes[one_layer].sum() == pytest.approx(expected, rel=1e-3)


def test_kv_goes_from_the_holding_gpu_to_the_chosen_one():
    trace = trace_of("sglang", 16, prefill_layout="dp16", decode_layout="dp16", prefill_nodes=2, decode_nodes=2, requests=40,
                     new_tokens=640)  # fmt: skip
    writes = named(trace, "kv-write", "kv")
    expected = {(r % 2 * 16 + r // 2 % 16, (2 + r % 2) * 16 + r // 2 % 16) for r in range(40)}
    assert set(zip(trace.source[writes].tolist(), trace.target[writes].tolist(), strict=True)) == expected
    assert trace.size_bytes[writes].sum() == 40 * 640 * bytes_per_token(GLM, KvLayout("fp8", with_mtp_layer=True))


def test_decode_of_a_rack_sends_to_every_owner():
    trace = trace_of("sglang", 72, decode_layout="dp72", prefill_nodes=0, context_tokens=1000, decode_batch=9)
    sent = named(trace, "dispatch", "decode") & (trace.layer == 3)
    assert len(set(trace.source[sent])) == 72
    assert trace.ranks_per_node == trace.ranks == 72


@pytest.mark.parametrize(
    ("engine", "options", "told"),
    [
        ("sglang", {"gpus_per_node": 16, "prefill_layout": "tp8"}, "one of cp16, cp16-layersplit, dp16, tp16 with sglang on"),
        ("sglang", {"prefill_layout": "tp16"}, "one of cp8, cp8-layersplit, dp8, tp8 with sglang"),
        ("sglang", {"gpus_per_node": 16}, "gpus_per_node: found 16 GPUs of a node; expected at most 8, the GPUs that NVLink"),
        ("tilert", {"gpus_per_node": 4}, "gpus_per_node: found 4; expected 8 with tilert"),
        ("sglang", {"gpus_per_node": 72, "device": "gb200-nvl72", "prefill_layout": "tp72"}, "a multiple of 72"),
    ],
)  # fmt: skip
def test_nodes_that_cannot_be_are_named(engine, options, told):
    with pytest.raises(InputError, match=told) as caught:
        generate(engine, GLM, EngineOptions(**options))
    assert caught.value.exit_status == 2
