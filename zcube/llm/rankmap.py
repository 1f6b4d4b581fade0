"""Which prefill GPU sends which part of the KV cache to which decode GPU.

A node has eight GPUs. Prefill splits them into data-parallel groups of ``prefill_cp * prefill_tp`` GPUs (context
parallel rank outermost), decode into groups of ``decode_tp``. Inside the two groups that hold a request, SGLang's
``_resolve_rank_mapping`` decides; an MLA cache is replicated over the attention-TP ranks, so that every decode
rank needs one full copy:

* P == D: decode rank i takes from prefill rank i.
* D > P: decode rank i takes from prefill rank ``i // (D / P)``, which serves D / P decode ranks.
* D < P: decode rank i is paired with ranks ``[i * P / D, (i + 1) * P / D)``, but only the first of them sends.
* With context parallelism only CP rank 0 sends; with layer split each CP rank sends the layers it owns.

TileRT's connector is its own rule: prefill rank 0 sends to decode GPU 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from zcube.errors import Fault, InputError
from zcube.node import GPUS_PER_NODE

_SIZES = (1, 2, 4, 8)
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
        GPU index (= rail) in the prefill and in the decode node, 0 .. 7.
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
        Attention-TP sizes and the prefill's context-parallel size, each 1, 2, 4 or 8.
    layer_split : bool
        Whether each CP rank holds only its own layers.
    layers : int
        Layers shipped, for the fractions of a layer split.
    single_pair : bool
        TileRT's rule, GPU 0 to GPU 0.
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

    @property
    def prefill_dp(self) -> int:
        """Data-parallel groups of the prefill node."""
        return GPUS_PER_NODE // (self.prefill_tp * self.prefill_cp)

    @property
    def decode_dp(self) -> int:
        """Data-parallel groups of the decode node."""
        return 1 if self.single_pair else GPUS_PER_NODE // self.decode_tp

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
        source = _group_base(source_rank, self.prefill_dp, "source_rank")
        target = _group_base(target_rank, self.decode_dp, "target_rank")
        return tuple(
            Send(source + cp * self.prefill_tp + self._sender(rank), target + rank, fraction)
            for rank in range(self.decode_tp)
            for cp, fraction in self._shares()
        )

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


def _group_base(rank: int, groups: int, what: str) -> int:
    if groups == 1:
        return 0
    if not 0 <= rank < groups:
        raise ValueError(f"{what} {rank}: expected 0 .. {groups - 1}")
    return rank * (GPUS_PER_NODE // groups)


def layer_counts(layers: int, ranks: int) -> tuple[int, ...]:
    """Return the layers each rank owns: whole layers, the first ranks taking the remainder.

    That the remainder goes to the first ranks is inferred; public code only says that the ranges are disjoint.
    """
    share, rest = divmod(layers, ranks)
    return tuple(share + (rank < rest) for rank in range(ranks))


def resolve_rank_map(
    prefill_tp: int, decode_tp: int, prefill_cp: int = 1, layer_split: bool = False, layers: int = DEFAULT_LAYERS
) -> RankMap:
    """Build the SGLang map of any pair of layouts that fits nodes of eight GPUs.

    Raises
    ------
    InputError
        If a size is not 1, 2, 4 or 8, the prefill sizes exceed a node, the layers are out of range, or layers are
        split without context parallelism.
    """
    faults = [
        Fault(key, repr(value), "1, 2, 4 or 8")
        for key, value in (("prefill_tp", prefill_tp), ("decode_tp", decode_tp), ("prefill_cp", prefill_cp))
        if value not in _SIZES
    ]
    if not faults and prefill_tp * prefill_cp > GPUS_PER_NODE:
        faults.append(Fault("prefill_tp * prefill_cp", str(prefill_tp * prefill_cp), f"at most {GPUS_PER_NODE}"))
    if not 1 <= layers <= MAX_LAYERS:
        faults.append(Fault("layers", str(layers), f"1 .. {MAX_LAYERS}"))
    if layer_split and prefill_cp == 1:
        faults.append(Fault("layer_split", "true with prefill_cp = 1", "prefill_cp of 2, 4 or 8, or false"))
    if faults:
        raise InputError(faults)
    split = "-layersplit" if layer_split else ""
    prefill = f"cp{prefill_cp}-tp{prefill_tp}" if prefill_cp > 1 else f"tp{prefill_tp}"
    description = f"prefill attention TP {prefill_tp} x CP {prefill_cp}, decode attention TP {decode_tp}"
    return RankMap(
        f"{prefill}{split}-tp{decode_tp}", description, _SGLANG, prefill_tp, decode_tp, prefill_cp, layer_split, layers
    )


#: name -> (description, prefill_tp, decode_tp, prefill_cp, layer_split)
_NAMED = {
    "tp8-tp8": ("8 full copies, GPU i to GPU i", 8, 8, 1, False),
    "tp8-dp8": ("1 copy, GPU 0 to the chosen GPU", 8, 1, 1, False),
    "dp8-dp8": ("1 copy, the holding GPU to the chosen GPU", 1, 1, 1, False),
    "dp8-tp8": ("8 full copies from the holding GPU to all GPUs", 1, 8, 1, False),
    "cp8-dp8": ("1 copy, GPU 0 to the chosen GPU", 1, 1, 8, False),
    "cp8-layersplit-dp8": ("1 copy, each GPU sends its layers to the chosen GPU", 1, 1, 8, True),
}
_TILERT_NAME = "tp8-tilert"


def rank_map_names() -> list[str]:
    """Return the names of the maps."""
    return [*_NAMED, _TILERT_NAME]


def rank_map(name: str, layers: int = DEFAULT_LAYERS) -> RankMap:
    """Return a named map.

    Parameters
    ----------
    name : str
        A name of :func:`rank_map_names`.
    layers : int
        Layers shipped; matters only to the layer split.

    Raises
    ------
    InputError
        If the name is unknown or the layers are out of range.
    """
    if name == _TILERT_NAME:
        return RankMap(name, "1 copy, GPU 0 to GPU 0 always", _TILERT, 8, 8, layers=layers, single_pair=True)
    if name not in _NAMED:
        raise InputError(Fault("rank map", repr(name), "one of " + ", ".join(rank_map_names())))
    description, prefill_tp, decode_tp, prefill_cp, layer_split = _NAMED[name]
    rule = resolve_rank_map(prefill_tp, decode_tp, prefill_cp, layer_split, layers)
    return RankMap(name, description, rule.source, prefill_tp, decode_tp, prefill_cp, layer_split, layers)
