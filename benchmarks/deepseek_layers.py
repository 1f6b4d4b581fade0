"""DeepSeek-V3's prefill iterations and decode steps of this model beside published ones, without a simulation.

    python benchmarks/deepseek_layers.py

Every case states its GPU, experts' span, batch and contexts, and tokens per second per node that were published for it.
Computation and exchanges are the model's; they are put together in two ways: ``longer``, the longer of all exchanges and all
computation, and ``stages``, as DeepSeek's profile shows what runs beside what (:mod:`zcube.serving.overlap`). There the
communication of prefill takes 24 of 132 SMs, that of decode none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.llm.cards import load_card
from zcube.llm.compute import RooflineModel
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.exchanges import low_latency_s, normal_s
from zcube.node import GPUS_PER_NODE
from zcube.serving.overlap import stages_of

CARD = load_card("deepseek-v3")
NIC_GBPS = 400.0
#: Of a Hopper GPU's SMs, those that DeepSeek's prefill gives to communication.
SM_SHARE = 24 / 132
#: Copies of experts in DeepSeek's service and in SGLang's runs.
COPIES = 32
BALANCES = ("balanced", "power_law_1.01", "power_law_1.2")
LMSYS = "LMSYS, 2025-05-05"


@dataclass(frozen=True)
class Case:
    """A published rate of one phase.

    Attributes
    ----------
    title, source : str
        What it is, and who published it.
    device : str
        GPU.
    phase : {"prefill", "decode"}
        Which one.
    nodes : int
        Over which experts are spread.
    batch : int
        Tokens of a GPU in a prefill iteration, requests of a GPU in decode.
    context : int
        Tokens of a prompt, all computed, or cached before the step.
    published : float
        Tokens/s of a node.
    is_balanced : bool
        Whether the router was made to load all experts alike.
    """

    title: str
    source: str
    device: str
    phase: str
    nodes: int
    batch: int
    context: int
    published: float
    is_balanced: bool


CASES = (
    Case("DeepSeek's profile, EP32", f"profile-data, read by {LMSYS}", "h800", "prefill", 4, 16384, 4096, 62713, True),
    Case("SGLang, EP32, even by force", LMSYS, "h100", "prefill", 4, 16384, 4096, 59337, True),
    Case("SGLang, EP32", LMSYS, "h100", "prefill", 4, 16384, 4096, 50302, False),
    Case("DeepSeek's profile, EP128", f"profile-data, read by {LMSYS}", "h800", "decode", 16, 128, 4096, 18598, True),
    Case("SGLang, EP72", LMSYS, "h100", "decode", 9, 256, 2000, 22282, False),
    Case("DeepSeek's service, EP32", "open-infra-index, day 6", "h800", "prefill", 4, 16384, 4096, 32206, False),
    Case("DeepSeek's service, EP144", "open-infra-index, day 6", "h800", "decode", 18, 128, 4989, 14800, False),
)


def rates(case: Case, balance: str, copies: int | None = None) -> dict[str, float]:
    """Return the model's tokens/s of a node, by how computation and exchanges are put together."""
    spans = (case.nodes, 1) if case.phase == "prefill" else (1, case.nodes)
    engine = EngineLayout(
        "dp8", "dp8", *spans, kv_dtype="bf16", moe_balance=balance,
        **{f"{case.phase}_redundant_experts": copies},
    )  # fmt: skip
    model = RooflineModel(CARD, load_device(case.device), engine)
    seconds = _prefill_s(model, case) if case.phase == "prefill" else _decode_s(model, case)
    return {name: case.batch * GPUS_PER_NODE / one for name, one in seconds.items()}


def _prefill_s(model: RooflineModel, case: Case) -> dict[str, float]:
    new, cached = [case.context] * (case.batch * GPUS_PER_NODE // case.context), [0]
    cached *= len(new)
    dispatch_s, combine_s = normal_s(CARD, model.exchanges, case.nodes, case.batch / 2, NIC_GBPS)
    exchange_s, compute_s = 2 * CARD.moe_layers * (dispatch_s + combine_s), model.prefill_iteration_s(new, cached)
    layer = model.prefill_layer(new, cached)
    of_layer, share = (layer.attention_s, layer.experts_s, layer.shared_s), dispatch_s / (dispatch_s + combine_s)
    stages = stages_of("prefill", CARD.moe_layers, of_layer, compute_s, share, SM_SHARE)
    return {"longer": max(compute_s, exchange_s), "stages": stages.seconds(exchange_s)}


def _decode_s(model: RooflineModel, case: Case) -> dict[str, float]:
    half = np.full(case.batch * GPUS_PER_NODE * case.nodes // 2, case.context)
    dispatch_s, combine_s = low_latency_s(CARD, model.exchanges, case.nodes, case.batch / 2, NIC_GBPS)
    exchange_s, compute_s = 2 * CARD.moe_layers * (dispatch_s + combine_s), 2 * float(model.decode_steps_s(half, 1)[0])
    layer = model.decode_layer(half[: len(half) // case.nodes], ep_nodes=case.nodes)
    of_layer = (2 * layer.attention_s, 2 * layer.experts_s, 2 * layer.shared_s)
    stages = stages_of("decode", CARD.moe_layers, of_layer, compute_s, dispatch_s / (dispatch_s + combine_s))
    return {"longer": max(compute_s, exchange_s), "stages": stages.seconds(exchange_s)}


def main() -> None:
    """Print the table."""
    for case in CASES:
        print(f"{case.title} ({case.source}), {case.phase} on {case.device}: {case.published:,.0f} tokens/s a node")
        for balance in BALANCES[:1] if case.is_balanced else BALANCES:
            for copies in (None,) if balance == "balanced" else (None, COPIES):
                found = ", ".join(
                    f"{name} {rate:,.0f} ({100 * (rate / case.published - 1):+.0f} %)"
                    for name, rate in rates(case, balance, copies).items()
                )
                print(f"    {balance}{'' if copies is None else f', {copies} copies placed by load'}: {found}")


if __name__ == "__main__":
    main()
