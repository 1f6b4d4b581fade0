"""Which prefill GPU sends which part of the KV cache to which decode GPU.

A node has any number of GPUs, those of one pipeline stage after the other. Prefill splits a stage's into data-parallel
groups of ``prefill_cp * prefill_tp`` GPUs (context parallel rank outermost), decode into groups of ``decode_tp``. Inside the
two groups that hold a request, SGLang's ``_resolve_rank_mapping`` decides; an MLA cache is replicated over the attention-TP
ranks, so that every decode rank needs one full copy:

* P == D: decode rank i takes from prefill rank i.
* D > P: decode rank i takes from prefill rank ``i // (D / P)``, which serves D / P decode ranks.
* D < P: decode rank i is paired with ranks ``[i * P / D, (i + 1) * P / D)``, but only the first of them sends.
* With context parallelism only CP rank 0 sends; with layer split each CP rank sends the layers it owns.
* A pipeline stage holds, sends and takes its own layers: every pair of stages that share layers sends by the same rule.

TileRT's connector is its own rule: prefill rank 0 sends to decode GPU 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from zcube.errors import Fault, InputError
from zcube.llm.layout import MAX_STAGE_GPUS, layout_of
from zcube.node import GPUS_PER_NODE

#: Pipeline stages at most.
MAX_STAGES = 64
#: GLM-5.1's layers; ``rank_map`` takes another number.
DEFAULT_LAYERS = 78
MAX_LAYERS = 1 << 20
_SGLANG = "SGLang disaggregation source (common/conn.py, _resolve_rank_mapping; mooncake/conn.py)"
_TILERT = "TileRT 0.1.5 disaggregation source (pd_vllm, sender_ranks = {0})"


@dataclass(frozen=True, slots=True)
class Send:
    """One GPU-to-GPU transfer of a request's KV cache.

    Attributes
    ----------
    source_rank, target_rank : int
        GPU index (= rail) in the prefill and in the decode node, from 0 on.
    fraction : float
        Part of one full copy, 1.0 = all layers.
    """

    source_rank: int
    target_rank: int
    fraction: float


@dataclass(frozen=True)
class RankMap:
    """A prefill-to-decode layout and the transfers that follow from it.

    Attributes
    ----------
    name, description, source : str
        ``source`` names where the rule was read.
    prefill_tp, decode_tp, prefill_cp : int
        Attention-TP sizes and the prefill's context-parallel size.
    layer_split : bool
        Whether each CP rank holds only its own layers.
    layers : int
        Layers shipped, for the fractions of a layer split.
    single_pair : bool
        TileRT's rule, GPU 0 to GPU 0.
    prefill_gpus, decode_gpus : int
        GPUs of a stage of either node.
    prefill_stages, decode_stages : int
        Pipeline stages of either node.
    """

    name: str
    description: str
    source: str
    prefill_tp: int
    decode_tp: int
    prefill_cp: int = 1
    layer_split: bool = False
    layers: int = DEFAULT_LAYERS
    single_pair: bool = False
    prefill_gpus: int = GPUS_PER_NODE
    decode_gpus: int = GPUS_PER_NODE
    prefill_stages: int = 1
    decode_stages: int = 1

    @property
    def prefill_dp(self) -> int:
        """Data-parallel groups of the prefill node."""
        return self.prefill_gpus // (self.prefill_tp * self.prefill_cp)

    @property
    def decode_dp(self) -> int:
        """Data-parallel groups of the decode node."""
        return 1 if self.single_pair else self.decode_gpus // self.decode_tp

    def sends(self, source_rank: int = 0, target_rank: int = 0) -> tuple[Send, ...]:
        """Return the transfers of one request.

        Parameters
        ----------
        source_rank : int
            Prefill data-parallel rank that holds the request; ignored where there is only one.
        target_rank : int
            Decode data-parallel rank chosen for it; ignored where there is only one.

        Raises
        ------
        ValueError
            If a rank is outside its node's data-parallel ranks.
        """
        if self.single_pair:
            return (Send(0, 0, 1.0),)
        source = _group_base(source_rank, self.prefill_dp, self.prefill_gpus, "source_rank")
        target = _group_base(target_rank, self.decode_dp, self.decode_gpus, "target_rank")
        return tuple(
            Send(
                out * self.prefill_gpus + source + cp * self.prefill_tp + self._sender(rank),
                into * self.decode_gpus + target + rank,
                fraction * part,
            )
            for into, pairs in enumerate(self.stage_pairs())
            for rank in range(self.decode_tp)
            for out, part in pairs
            for cp, fraction in self._shares()
        )

    def stage_pairs(self) -> list[list[tuple[int, float]]]:
        """Return of every decode stage the prefill stages that have some of its layers, with their shares of all layers."""
        ends = [_ends(self.layers, stages) for stages in (self.prefill_stages, self.decode_stages)]
        return [
            [
                (out, shared / self.layers)
                for out, (first, last) in enumerate(ends[0])
                if (shared := min(last, stop) - max(first, start)) > 0
            ]
            for start, stop in ends[1]
        ]

    def _sender(self, decode_rank: int) -> int:
        # Larger decode: several decode ranks share one sender. Larger prefill: the first of each run sends for it.
        if self.decode_tp >= self.prefill_tp:
            return decode_rank // (self.decode_tp // self.prefill_tp)
        return decode_rank * (self.prefill_tp // self.decode_tp)

    def _shares(self) -> list[tuple[int, float]]:
        if not self.layer_split:
            return [(0, 1.0)]
        counts = layer_counts(self.layers, self.prefill_cp)
        return [(cp, count / self.layers) for cp, count in enumerate(counts) if count]


def _group_base(rank: int, groups: int, gpus: int, what: str) -> int:
    if groups == 1:
        return 0
    if not 0 <= rank < groups:
        raise ValueError(f"{what} {rank}: expected 0 .. {groups - 1}")
    return rank * (gpus // groups)


def _ends(layers: int, stages: int) -> list[tuple[int, int]]:
    """Return the first layer of every stage, and the one behind its last."""
    ends = [0]
    for count in layer_counts(layers, stages):
        ends.append(ends[-1] + count)
    return list(pairwise(ends))


def layer_counts(layers: int, ranks: int) -> tuple[int, ...]:
    """Return the layers each rank owns: whole layers, the first ranks taking the remainder.

    That the remainder goes to the first ranks is inferred; public code only says that the ranges are disjoint.
    """
    share, rest = divmod(layers, ranks)
    return tuple(share + (rank < rest) for rank in range(ranks))


def resolve_rank_map(
    prefill_tp: int, decode_tp: int, prefill_cp: int = 1, layer_split: bool = False, layers: int = DEFAULT_LAYERS, *,
    prefill_gpus: int = GPUS_PER_NODE, decode_gpus: int = GPUS_PER_NODE, prefill_stages: int = 1, decode_stages: int = 1,
) -> RankMap:  # fmt: skip
    """Build the SGLang map of any pair of layouts that fit their nodes.

    Where one attention-TP size does not divide the other, SGLang's rule does not say who sends.

    Raises
    ------
    InputError
        If a size does not divide its stage's GPUs or the two do not divide each other, a number is out of range, or layers
        are split without context parallelism or over pipeline stages.
    """
    sizes = (("prefill_gpus", prefill_gpus), ("decode_gpus", decode_gpus))
    faults = [Fault(key, repr(gpus), f"1 .. {MAX_STAGE_GPUS}") for key, gpus in sizes if not 1 <= gpus <= MAX_STAGE_GPUS]
    if not faults:
        faults += [
            Fault(key, repr(value), f"a divisor of {gpus}, the GPUs of a stage")
            for key, value, gpus in (
                ("prefill_tp", prefill_tp, prefill_gpus), ("decode_tp", decode_tp, decode_gpus),
                ("prefill_cp", prefill_cp, prefill_gpus),
            )
            if value < 1 or gpus % value
        ]  # fmt: skip
    if not faults and prefill_gpus % (prefill_tp * prefill_cp):
        found = str(prefill_tp * prefill_cp)
        faults.append(Fault("prefill_tp * prefill_cp", found, f"a divisor of {prefill_gpus}, the GPUs of a stage"))
    if not faults and max(prefill_tp, decode_tp) % min(prefill_tp, decode_tp):
        found = f"{prefill_tp} and {decode_tp}"
        faults.append(Fault("prefill_tp, decode_tp", found, "sizes of which one divides the other"))
    if not 1 <= layers <= MAX_LAYERS:
        faults.append(Fault("layers", str(layers), f"1 .. {MAX_LAYERS}"))
    for key, stages in (("prefill_stages", prefill_stages), ("decode_stages", decode_stages)):
        if not 1 <= stages <= min(MAX_STAGES, max(layers, 1)):
            faults.append(Fault(key, str(stages), f"1 .. {min(MAX_STAGES, max(layers, 1))}"))
    if layer_split and prefill_cp == 1:
        faults.append(Fault("layer_split", "true with prefill_cp = 1", "prefill_cp above 1, or false"))
    if layer_split and (prefill_stages > 1 or decode_stages > 1):
        faults.append(Fault("layer_split", "true with pipeline stages", "one stage, or false"))
    if faults:
        raise InputError(faults)
    split = "-layersplit" if layer_split else ""
    prefill = f"cp{prefill_cp}-tp{prefill_tp}" if prefill_cp > 1 else f"tp{prefill_tp}"
    description = f"prefill attention TP {prefill_tp} x CP {prefill_cp}, decode attention TP {decode_tp}"
    return RankMap(
        f"{prefill}{split}-tp{decode_tp}", description, _SGLANG, prefill_tp, decode_tp, prefill_cp, layer_split, layers,
        prefill_gpus=prefill_gpus, decode_gpus=decode_gpus, prefill_stages=prefill_stages, decode_stages=decode_stages,
    )  # fmt: skip


#: What maps of nodes of eight GPUs come to.
_DESCRIBED = {
    "tp8-tp8": "8 full copies, GPU i to GPU i",
    "tp8-dp8": "1 copy, GPU 0 to the chosen GPU",
    "dp8-dp8": "1 copy, the holding GPU to the chosen GPU",
    "dp8-tp8": "8 full copies from the holding GPU to all GPUs",
    "cp8-dp8": "1 copy, GPU 0 to the chosen GPU",
    "cp8-layersplit-dp8": "1 copy, each GPU sends its layers to the chosen GPU",
}
_TILERT_NAME = "tp8-tilert"
_NAME = re.compile(r"((?:tp|cp|dp)[0-9]{1,4})(-layersplit)?-((?:tp|dp)[0-9]{1,4})", re.ASCII)


def rank_map_names() -> list[str]:
    """Return the names of the maps."""
    return [*_DESCRIBED, _TILERT_NAME]


def named_layouts(name: str) -> tuple[str, str] | None:
    """Return the layouts of prefill and decode that a map's name has; None if it is no such name."""
    if name == _TILERT_NAME:
        return "tp8", "tp8"
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], found[3])


def rank_map(
    name: str, layers: int = DEFAULT_LAYERS, *, prefill_gpus: int = GPUS_PER_NODE, decode_gpus: int = GPUS_PER_NODE,
    prefill_stages: int = 1, decode_stages: int = 1,
) -> RankMap:  # fmt: skip
    """Return a named map.

    Parameters
    ----------
    name : str
        Layouts of prefill and decode, as :func:`zcube.llm.layout.layout_of` reads them: ``cp8-dp8``, ``tp16-dp72``;
        ``-layersplit`` behind prefill's; or ``tp8-tilert``.
    layers : int
        Layers shipped; matters only to the layer split and to pipeline stages.
    prefill_gpus, decode_gpus, prefill_stages, decode_stages : int
        As :class:`RankMap`.

    Raises
    ------
    InputError
        If the name is unknown, its sizes do not fit the nodes, or a number is out of range.
    """
    if name == _TILERT_NAME:
        return RankMap(name, "1 copy, GPU 0 to GPU 0 always", _TILERT, 8, 8, layers=layers, single_pair=True)
    layouts = named_layouts(name)
    if layouts is None:
        expected = "layouts of prefill and decode, such as " + ", ".join(rank_map_names())
        raise InputError(Fault("rank map", repr(name), expected))
    try:
        prefill, decode = layout_of(layouts[0], prefill_gpus), layout_of(layouts[1], decode_gpus)
    except ValueError as error:
        raise InputError(Fault("rank map", repr(name), str(error))) from error
    rule = resolve_rank_map(
        prefill.tp, decode.tp, prefill.cp, "-layersplit-" in name, layers, prefill_gpus=prefill_gpus, decode_gpus=decode_gpus,
        prefill_stages=prefill_stages, decode_stages=decode_stages,
    )  # fmt: skip
    is_described = prefill_gpus == decode_gpus == GPUS_PER_NODE and name in _DESCRIBED
    return replace(rule, name=name, description=_DESCRIBED[name] if is_described else rule.description)
