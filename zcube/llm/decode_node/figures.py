"""Parameters of a decode node, and the three ideas that tell TileRT from a conventional engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate
from zcube.llm.devices import DeclaredError, Device, NotNegative, Positive, load_device

_FOLDER = Path(__file__).resolve().parent

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(ge=1e-6, le=1)]
KernelCount = Annotated[int, Field(ge=0, le=1024)]


class Kernels(Declared):
    """Kernels an engine with one launch per operator runs for each part of a layer; inferred from SGLang's forward pass.

    Attributes
    ----------
    query_latent : int
        Add and norm, quantise, the two down-projections as one, norm of the query and of the KV latent.
    index_projection : int
        Quantise, query, key and weight projections, layer norm, rotation (two), Hadamard (two), quantise, store, scale.
    logits, select : int
        Schedule and logits; top-k and its translation to slots.
    query_up, absorb, attention, value_up, output_projection : int
        Quantise, project, rotate; multiply and store the KV row (three); attention and its merge; multiply; quantise, project.
    router, gate_up, down : int
        Add and norm, project, top-k; sort (two), quantise, project, activate, with the shared expert's two; project and sum,
        with the shared expert's two. A dense block is given the same, without router.
    head, draft_projection : int
        Norm, project, gather, sample (two); two norms, concatenate, quantise, project.
    """

    query_latent: KernelCount
    index_projection: KernelCount
    logits: KernelCount
    select: KernelCount
    query_up: KernelCount
    absorb: KernelCount
    attention: KernelCount
    value_up: KernelCount
    output_projection: KernelCount
    router: KernelCount
    gate_up: KernelCount
    down: KernelCount
    head: KernelCount
    draft_projection: KernelCount


class DecodeNode(Declared):
    """One eight-GPU node that decodes one request at a time.

    Attributes
    ----------
    name, description, source : str
        ``source`` names what the fitted figures were fitted to.
    device : Device
        The GPUs; in a file, the name or path of a device file. Its peaks, the conventional all-reduce and the conventional
        indexer's time per token are used.
    memory_share : float
        Achieved share of the peak memory rate, weights and caches. Fitted.
    stage_us : float
        Time of one dependent stage inside the persistent kernel beyond its memory time: waiting for the flags of all its input
        tiles, filling and draining the pipeline. Fitted.
    select_us : float
        Exact top-k over the index logits beyond its stage, whatever the length. Fitted.
    index_share : float
        Achieved share of the peak bf16 rate in index logits and the scan for the top-k; proportional to query tokens times
        context. Fitted.
    signal_us : float
        From a store into a peer's memory over NVLink to the end of the peer's poll. Inferred.
    all_reduce_us : float or None
        An all-reduce inside the persistent kernel beyond its bytes; None: as long as one signal.
    overlap : float
        Share of the weights not chosen by the router that a GPU may stream from memory before the hidden state they are
        multiplied with has arrived. Inferred.
    id_flag_factor : int
        Words sent per word of selected token ids: 2 with a flag beside each. Inferred from the size of TileRT's buffers.
    kernel_us : float
        Time of a short kernel in a CUDA graph beyond its memory time: gap, ramp and tail. Inferred.
    kernels : Kernels
        Kernels of the engine with one launch per operator.
    stated_error : dict
        ``in-sample`` and ``leave-one-out``, against the published speeds.
    """

    name: str
    description: str
    source: str
    device: Device
    memory_share: PositiveShare
    stage_us: NotNegative
    select_us: NotNegative
    index_share: PositiveShare
    signal_us: Positive
    all_reduce_us: Positive | None = None
    overlap: Share
    id_flag_factor: Annotated[int, Field(ge=1, le=16)]
    kernel_us: Positive
    kernels: Kernels
    stated_error: dict[str, DeclaredError]


class NodeFigures(Declared):
    """Figures in place of those of a node's file, with the same names; those left out stay.

    Attributes
    ----------
    memory_share, stage_us, select_us, index_share, signal_us, all_reduce_us, overlap, id_flag_factor, kernel_us : float or None
        As of :class:`DecodeNode`.
    """

    memory_share: PositiveShare | None = None
    stage_us: NotNegative | None = None
    select_us: NotNegative | None = None
    index_share: PositiveShare | None = None
    signal_us: Positive | None = None
    all_reduce_us: Positive | None = None
    overlap: Share | None = None
    id_flag_factor: Annotated[int, Field(ge=1, le=16)] | None = None
    kernel_us: Positive | None = None

    @property
    def given(self) -> dict[str, float]:
        """Those that are given, by name."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class Ideas:
    """Which of TileRT's three ideas a node uses.

    Attributes
    ----------
    persistent_tiles : bool
        One kernel runs the whole step; parts hand over by flags, top-k is spread over the GPU. Else every operator is a
        kernel of a CUDA graph, the all-reduce too.
    heterogeneous_workers : bool
        GPU 0 runs the indexer, GPUs 1-7 the attention. Else each GPU has an eighth of the heads and runs the whole indexer.
    overlap : bool
        Weights stream in while an all-reduce is under way, and GPU 0 puts the selected ids into its peers' memory without
        waiting for them. Else communication waits for all its GPUs and they wait for it.
    """

    persistent_tiles: bool = True
    heterogeneous_workers: bool = True
    overlap: bool = True


TILERT = Ideas()
CONVENTIONAL = Ideas(persistent_tiles=False, heterogeneous_workers=False, overlap=False)


def node_names() -> list[str]:
    """Return the names of the bundled nodes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_node(reference: str, device: Device | None = None, figures: NodeFigures | None = None) -> DecodeNode:
    """Read a bundled node by name, or a node file by path.

    Parameters
    ----------
    reference : str
        A name of :func:`node_names`, or a path to a TOML file with the keys of :class:`DecodeNode`.
    device : Device, optional
        Other GPUs than the file names. The fitted shares and latencies stay those of the file.
    figures : NodeFigures, optional
        Figures in place of the file's.

    Raises
    ------
    InputError
        If there is no such node or device, or a file is not a valid one.
    """
    path = _FOLDER / f"{reference}.toml" if reference in node_names() else Path(reference)
    if not is_file(str(path)):
        names = ", ".join(node_names())
        raise InputError(Fault(reference or "''", "no such decode node", f"a path to a TOML file or one of {names}"))
    node = validate(DecodeNode, _with_device(read_toml(path), device), path.name)
    return node if figures is None else node.model_copy(update=figures.given)


def _with_device(data: dict[str, Any], device: Device | None) -> Mapping[str, Any]:
    named = data.get("device")
    if device is None and isinstance(named, str):
        device = load_device(named)
    return data | {"device": device} if device is not None else data
