"""GPU cards: the fitted figures of the compute-time model, with their source and stated error."""

from __future__ import annotations

from functools import cache
from math import isclose
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field, ValidationError, model_validator

from zcube.errors import Fault, InputError
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate
from zcube.llm.scaled_device import By, Ratios, completed

_FOLDER = Path(__file__).resolve().parent / "devices"

#: KV dtypes with measured attention.
KV_DTYPES = ("fp8", "bf16")
#: Kernels of the routed experts: what an engine runs without an exchange, and behind each of DeepEP's two.
ExpertKernel: TypeAlias = Literal["fused", "deepep_normal", "deepep_low_latency"]
EXPERT_KERNELS: tuple[ExpertKernel, ...] = get_args(ExpertKernel)
#: Operations whose error a device states.
STATED_OPERATIONS = (
    *(f"{phase}_attention_{kv}" for phase in ("prefill", "decode") for kv in KV_DTYPES),
    *(f"moe_{kernel}" for kernel in EXPERT_KERNELS),
)

Sources: TypeAlias = dict[Annotated[str, Field(min_length=1, max_length=80)], Annotated[str, Field(max_length=1000)]]
Positive = Annotated[float, Field(gt=0, lt=1e9)]
NotNegative = Annotated[float, Field(ge=0, lt=1e9)]
#: Figures by what they are scaled for a device that was not measured.
EightBitRate = Annotated[Positive, By.EIGHT_BIT]
Bf16Rate = Annotated[Positive, By.BF16]
ByteRate = Annotated[Positive, By.BYTES]
ReadTime = Annotated[NotNegative, By.READ_TIME]
AttendedTime = Annotated[NotNegative, By.ATTENDED_TIME]
Told = Annotated[str, By.TOLD]


#: Data sheets round: 989 and 989.5 TFLOP/s are one GPU's.
SAME_WITHIN = 1e-3
#: Of one GPU; what is as slow would scale measured figures to nothing, or to no number.
PeakRate = Annotated[float, Field(ge=1e-3, lt=1e9)]


class Peaks(Declared):
    """Data-sheet peaks of one GPU: dense TFLOP/s, memory and NVLink (one direction) GB/s. Bounds of the fits.

    Attributes
    ----------
    fp8_tflops, bf16_tflops : float
        Dense, TFLOP/s. Where a GPU has no FP8, ``fp8_tflops`` is of what engines take in its place, ``int8_tflops``.
    memory_gbytes_per_s, nvlink_gbytes_per_s : float
        Rates, GB/s; of the scale-up link, whatever its name, in one direction.
    fp4_tflops, int8_tflops : float, optional
        Dense, TFLOP/s and TOP/s; default: the GPU has none, or it is not given.
    memory_gbytes : float, optional
        Memory of one GPU, GB; default: not given.
    """

    fp8_tflops: PeakRate
    bf16_tflops: PeakRate
    memory_gbytes_per_s: PeakRate
    nvlink_gbytes_per_s: PeakRate
    fp4_tflops: Positive | None = None
    int8_tflops: Positive | None = None
    memory_gbytes: Positive | None = None

    def is_gpu_of(self, other: Peaks) -> bool:
        """Return whether two data sheets are of one GPU: equal rates, and what both give of memory and FP4."""
        rates = ("fp8_tflops", "bf16_tflops", "memory_gbytes_per_s", "memory_gbytes", "fp4_tflops")
        both = ((getattr(self, rate), getattr(other, rate)) for rate in rates)
        return all(one is None or another is None or isclose(one, another, rel_tol=SAME_WITHIN) for one, another in both)


class NodeShape(Declared):
    """What a server of the device has; defaults are those of HGX servers.

    Attributes
    ----------
    gpus : int
        GPUs of a server; dies, where each is a rank of its own.
    gpus_per_package : int
        Of which so many share a package.
    scale_up : str
        Name of the link among GPUs.
    scale_up_gpus : int
        GPUs that the scale-up link joins: those of a server, or of several.
    nics, nic_gbps : int, float
        NICs of a server for the back-end network, and the line rate of each, Gb/s.
    """

    gpus: Annotated[int, Field(ge=1, le=1024)] = 8
    gpus_per_package: Annotated[int, Field(ge=1, le=16)] = 1
    scale_up: Annotated[str, Field(min_length=1, max_length=80)] = "NVLink"
    scale_up_gpus: Annotated[int, Field(ge=1, le=1024)] = 8
    nics: Annotated[int, Field(ge=1, le=1024)] = 8
    nic_gbps: Positive = 400.0

    @model_validator(mode="after")
    def _whole(self) -> NodeShape:
        wrong = []
        if self.gpus % self.gpus_per_package:
            wrong.append(f"whole packages of gpus_per_package = {self.gpus_per_package} as gpus, not {self.gpus}")
        if self.scale_up_gpus % self.gpus:
            wrong.append(f"whole servers of gpus = {self.gpus} as scale_up_gpus, not {self.scale_up_gpus}")
        if max(self.gpus, self.nics) % min(self.gpus, self.nics):
            wrong.append(f"nics that gpus = {self.gpus} share evenly, not {self.nics}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def gpu_gbps(self) -> float:
        """Rate of one GPU's share of the NICs, Gb/s."""
        return self.nics * self.nic_gbps / self.gpus


class PrefillAttention(Declared):
    """Figures of one layer's attention block in prefill; see :mod:`zcube.llm.attention`.

    Attributes
    ----------
    dense_floor_us, sparse_floor_us : float
        Least time, set by the host that launches the kernels: without and with the sparse-attention indexer.
    dense_base_us, sparse_base_us : float
        Fixed GPU time.
    linear_tflops, dense_tflops, sparse_tflops, index_tflops : float
        Achieved rates: projections, dense attention, sparse attention, indexer logits.
    gather_gbytes_per_s : float
        Rate at which cached indexer keys are read back.
    computes_all_slots : bool
        Whether the sparse kernel computes ``index_topk`` slots even where fewer tokens exist.
    """

    dense_floor_us: Positive
    sparse_floor_us: Positive
    dense_base_us: NotNegative
    sparse_base_us: NotNegative
    linear_tflops: EightBitRate
    dense_tflops: Bf16Rate
    sparse_tflops: Bf16Rate
    index_tflops: EightBitRate
    gather_gbytes_per_s: ByteRate
    computes_all_slots: bool


class DecodeAttention(Declared):
    """Figures of one layer's attention block in one decode step; see :mod:`zcube.llm.attention`.

    Attributes
    ----------
    base_us, sparse_base_us : float
        Fixed time, and what the sparse path adds once a context exceeds ``index_topk``.
    weight_gbytes_per_s, linear_tflops : float
        Roofline of the projections.
    request_us, selected_us_per_ktoken : float
        Per request, and per 1024 attended tokens of any request, with 64 heads.
    longest_us_per_ktoken, context_us_per_ktoken : float
        Indexer, per 1024 tokens of the longest context and of all contexts together.
    """

    base_us: NotNegative
    sparse_base_us: NotNegative
    weight_gbytes_per_s: ByteRate
    linear_tflops: EightBitRate
    request_us: NotNegative
    selected_us_per_ktoken: AttendedTime
    longest_us_per_ktoken: ReadTime
    context_us_per_ktoken: ReadTime


class ExpertBalance(Declared):
    """How unevenly the router loads experts; see :mod:`zcube.llm.experts`.

    Attributes
    ----------
    even : bool
        Tokens go round the experts in turn, instead of at random.
    straggler : float
        Extra work of the fullest of two ranks, as a share of the mean.
    growth : float
        Power of the other ranks with which the extra work grows.
    breadth : float
        Tokens that touch as many experts as one token under uniform routing, inverted: below 1 fewer are touched.
    evenness : float
        Power of the tokens with which further experts are touched; below 1, the less popular ones come late.
    """

    even: bool
    straggler: NotNegative
    growth: Positive
    breadth: Positive
    evenness: Annotated[float, Field(gt=0, le=1)]


class Experts(Declared):
    """Figures of one MoE layer's routed experts on one GPU, by one kernel; see :mod:`zcube.llm.experts`.

    Attributes
    ----------
    kernel : str
        What runs, and where it was measured.
    floor_us : float
        Least time, set by the host where it launches the kernels one by one.
    base_us : float
        Fixed GPU time.
    weight_gbytes_per_s, tflops, activation_gbytes_per_s : float
        Achieved rates: weights read, multiplication, activations moved.
    corner : float
        Power by which the roofline's two sides are joined; 1 adds them, a large one takes the longer.
    """

    kernel: Told
    floor_us: NotNegative
    base_us: NotNegative
    weight_gbytes_per_s: ByteRate
    tflops: EightBitRate
    corner: Annotated[float, Field(ge=1, le=64)]
    activation_gbytes_per_s: ByteRate
    balance: dict[str, ExpertBalance]


class Line(Declared):
    """A transfer's time ``base_us + bytes / gbytes_per_s`` and where it was measured or inferred.

    Attributes
    ----------
    base_us : float
        Time beside the bytes.
    gbytes_per_s : float
        Rate.
    source : str
        Where it was measured or inferred.
    """

    base_us: NotNegative
    gbytes_per_s: ByteRate
    source: Told

    def seconds(self, size_bytes: float) -> float:
        """Return the time of ``size_bytes``."""
        return self.base_us * 1e-6 + size_bytes / self.gbytes_per_s * 1e-9


class NodeLinks(Declared):
    """Collectives among eight GPUs of a node, over NVLink; see :mod:`zcube.llm.node_links`.

    Attributes
    ----------
    all_reduce, decode_all_reduce, gather : Line
        Large and small all-reduce, all-gather; bytes of the whole buffer.
    reduce_scatter : Line or None
        Reduce-scatter, likewise; None: as ``gather``.
    dispatch, combine, low_latency_dispatch, low_latency_combine : Line
        Expert all-to-all; bytes that leave one GPU.
    """

    all_reduce: Line
    decode_all_reduce: Line
    gather: Line
    reduce_scatter: Line | None = None
    dispatch: Line
    combine: Line
    low_latency_dispatch: Line
    low_latency_combine: Line

    @property
    def are_straight(self) -> bool:
        """Whether all are lines, whose times are found of arrays too, and none a curve that was measured."""
        return all(line is None or type(line) is Line for _, line in self)


class Exchange(Declared):
    """Figures of one of DeepEP's exchanges over nodes; see :mod:`zcube.llm.exchanges`.

    Attributes
    ----------
    base_us, cross_us, doubling_us : float
        Fixed time, what more than one node adds to it, and what each doubling of the nodes adds.
    rail_efficiency : float
        Share of the NIC's line rate.
    nvlink_gbytes_per_s : float
        Rate of what stays in the node, GB/s.
    source : str
        Where it was measured or inferred.
    """

    base_us: NotNegative
    cross_us: NotNegative
    doubling_us: NotNegative
    rail_efficiency: Annotated[float, Field(gt=0, le=1)]
    nvlink_gbytes_per_s: ByteRate
    source: Told


class Exchanges(Declared):
    """DeepEP's exchanges: of normal mode, calibrated for two nodes and more, and of low-latency mode."""

    dispatch: Exchange
    combine: Exchange
    low_latency_dispatch: Exchange
    low_latency_combine: Exchange


class DeclaredError(Declared):
    """Relative error of a model against measurements, as written in the device file.

    Attributes
    ----------
    median, p90, mape : float
        Of the absolute relative errors; ``mape`` is their mean.
    points : int
        How many; 0 where the device itself was not measured.
    against : str
        What they are errors against.
    """

    median: NotNegative
    p90: NotNegative
    mape: NotNegative
    points: Annotated[int, Field(ge=0)]
    against: str


class Device(Declared):
    """One kind of GPU.

    A device file that says ``scaled_from`` needs only ``peak``: what it does not say itself is that of a measured device,
    scaled by what data sheets say of both; see :mod:`zcube.llm.scaled_device`.

    Attributes
    ----------
    name, description, source : str
        ``source`` names the measurements the figures were fitted to.
    scaled_from : str, optional
        Measured device whose figures are scaled; default: none is.
    node : NodeShape
        Servers of such GPUs.
    sources : dict
        Where figures of ``peak`` and ``node`` are published, by what they are of.
    padded_heads : int
        Attention kernels compute at least this many heads.
    prefill, decode : dict
        Attention figures by KV dtype, ``fp8`` and ``bf16``.
    experts : dict
        By :data:`EXPERT_KERNELS`, all with the same balances.
    exchanges : Exchanges
        DeepEP over nodes.
    memory : Line
        Time of a kernel that only moves bytes; see :mod:`zcube.llm.around`.
    stated_error : dict
        By :data:`STATED_OPERATIONS`.
    """

    name: str
    description: str
    source: str
    scaled_from: str | None = None
    padded_heads: Annotated[int, Field(ge=1, le=1024)]
    peak: Peaks
    node: NodeShape = NodeShape()
    sources: Sources = Field(default={})
    prefill: dict[str, PrefillAttention]
    decode: dict[str, DecodeAttention]
    experts: dict[str, Experts]
    memory: Line
    links: NodeLinks
    exchanges: Exchanges
    stated_error: dict[str, DeclaredError]

    @model_validator(mode="after")
    def _complete(self) -> Device:
        wrong = []
        for key, table, needed in (
            ("prefill", self.prefill, KV_DTYPES),
            ("decode", self.decode, KV_DTYPES),
            ("experts", self.experts, EXPERT_KERNELS),
            ("stated_error", self.stated_error, STATED_OPERATIONS),
        ):
            if set(table) != set(needed):
                wrong.append(f"{key} with exactly the tables {', '.join(needed)}")
        balances = {frozenset(figures.balance) for figures in self.experts.values()}
        if len(balances) > 1 or frozenset() in balances:
            wrong.append("the same tables under balance, at least one, for every kernel of experts")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def domain_fault(self, where: str, gpus: int, what: str) -> Fault:
        """Return the fault of some GPUs that are to be joined and that the scale-up link does not join."""
        most = (
            f"at most {self.node.scale_up_gpus}, the GPUs that {self.node.scale_up} joins (node.scale_up_gpus of {self.name})"
        )
        return Fault(where, f"{gpus} {what}", f"{most}; what goes beyond that goes over the network: more nodes or stages")


def device_names() -> list[str]:
    """Return the names of the bundled devices, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def measured_device_names() -> list[str]:
    """Return the names of the bundled devices whose figures were measured, sorted."""
    return list(_measured())


@cache
def _measured() -> tuple[str, ...]:
    return tuple(name for name in device_names() if "scaled_from" not in read_toml(_FOLDER / f"{name}.toml"))


def load_device(reference: str) -> Device:
    """Read a bundled device by name, or a device file by path.

    Raises
    ------
    InputError
        If there is no such device, the file is not a valid one, or it has the name of a bundled device with another GPU.
    """
    if reference in device_names():
        return _bundled(reference)
    path = Path(reference)
    found = _read(path, reference)
    if path.parent != _FOLDER and found.name in device_names():
        own = load_device(found.name).peak
        if not found.peak.is_gpu_of(own):
            expected = f"another name, or the peak of the bundled {found.name}, whose measured figures go by its name"
            raise InputError(Fault(f"{path.name}: name", f"{found.name!r} with the peak of another GPU", expected))
    return found


@cache
def _bundled(name: str) -> Device:
    """Return a bundled device, whose file is read once: fits and draws ask for it hundreds of times."""
    return _read(_FOLDER / f"{name}.toml", name)


def _read(path: Path, reference: str) -> Device:
    if not is_file(str(path)):
        names = ", ".join(device_names())
        raise InputError(Fault(reference or "''", "no such device", f"a path to a TOML file or one of {names}"))
    declared = read_toml(path)
    base = declared.get("scaled_from")
    if base is None:
        return validate(Device, declared, path.name)
    if base not in measured_device_names():
        names = ", ".join(measured_device_names())
        raise InputError(Fault(f"{path.name}: scaled_from", repr(base), f"a measured device: {names}"))
    measured = load_device(base)
    try:
        peak = Peaks.model_validate(declared.get("peak"))
    except ValidationError:
        # Told with all that is wrong; a peak that is missing is not the measured device's.
        return validate(Device, {**measured.model_dump(exclude={"peak"}), **declared}, path.name)
    return validate(Device, completed(declared, measured, _ratios(peak, measured.peak)), path.name)


def _ratios(peak: Peaks, measured: Peaks) -> Ratios:
    return Ratios(
        fp8=peak.fp8_tflops / measured.fp8_tflops,
        bf16=peak.bf16_tflops / measured.bf16_tflops,
        memory=peak.memory_gbytes_per_s / measured.memory_gbytes_per_s,
        link=peak.nvlink_gbytes_per_s / measured.nvlink_gbytes_per_s,
    )
