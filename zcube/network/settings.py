"""How bytes move, as one declared value: of a scenario's ``[network]``, the options of a verb, or a caller in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from zcube.errors import Fault, InputError
from zcube.fabric.measured import MeasuredLinks
from zcube.fabric.model import Fabric
from zcube.fabric.spec import LEAST_GBPS
from zcube.inputs import Declared
from zcube.network.load_over_time import DEFAULT_BINS
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import Fidelity, PathSplit
from zcube.routing.catalog import DEFAULT, DEFAULT_QUEUE_PAIRS, routings
from zcube.routing.equal_paths import DEFAULT_MOST_PATHS
from zcube.routing.relay import FallBack

if TYPE_CHECKING:
    from zcube.network.carrier import Carrier


class Network(Declared):
    """How bytes move.

    ``nic_gbps`` limits every GPU's NIC ports together, the rest of the fabric unchanged, as in a NIC-cap experiment.
    """

    fidelity: Fidelity = Field(
        default="flow",
        description="ideal: only NIC links limit; flow: max-min fair fluid; lossless: the same with back-pressure; "
        "packet: RoCE packet by packet",
    )
    routing: str = Field(default="default", max_length=60, description="a routing policy; default: the one of each family")
    fall_back: FallBack = Field(
        default="none", description="what transfers do whose paths failures have cut, see docs/models.md"
    )
    queue_pairs: int = Field(
        default=DEFAULT_QUEUE_PAIRS, ge=1, le=1024, description="per transfer where paths are hashed; Mooncake opens 2"
    )
    most_paths: int = Field(
        default=DEFAULT_MOST_PATHS, ge=1, le=4096, description="that routing equal-paths lists of a pair at most"
    )
    path_split: PathSplit = Field(
        default="pooled", description="pooled: paths share a transfer's bytes; fixed: each carries its part"
    )
    nic_gbps: float | None = Field(default=None, ge=LEAST_GBPS, le=1e6)
    calibration: str | None = Field(
        default=None, max_length=4096, description="file of zcube calibrate fit; its rates and latencies replace line rates"
    )
    calibration_draws: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="further runs, each with a round of the calibration's bootstrap, that give the band of what depends on it; "
        "2: the ends of the 95 % interval; 0: no band; default: 2, of a short replay 20; see docs/calibration.md",
    )
    packet: PacketSettings = Field(default=PacketSettings(), description="of fidelity packet; its seed is the run's")
    isolation: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="of fidelity lossless: how far congestion control spares who does not use a congested link; 0: only pauses "
        "hold senders back; 1: max-min; see docs/lossless.md",
    )
    quantum_s: float = Field(
        default=0.0,
        ge=0,
        le=1e7,
        description="fluid: events within this time are solved as one; 0 is exact",
    )
    bin_s: float = Field(
        default=0.0,
        ge=0,
        le=1e7,
        description="of a replay: width of the bins in which links' bytes are kept; 0: totals",
    )
    load_bins: int = Field(
        default=DEFAULT_BINS,
        ge=0,
        le=1000,
        description="bins of time in which the load of switches and of the fullest links is kept: about as many, up to twice "
        "as many of a run that lasts longer than its requests come; 0: none; see docs/metrics.md",
    )
    memory_gb: float | None = Field(
        default=None, ge=0, description="most memory a run may use, 1e9 bytes; default: what is available"
    )

    @field_validator("calibration_draws")
    @classmethod
    def _both_ends(cls, draws: int | None) -> int | None:
        if draws == 1:
            raise ValueError("0, or 2 and more: a band has two ends")
        return draws

    @field_validator("packet")
    @classmethod
    def _one_seed(cls, packet: PacketSettings) -> PacketSettings:
        if packet.seed:
            raise ValueError("no packet.seed: the seed of the run holds for all of it")
        return packet

    def on(self, fabric: Fabric, seed: int = 0, measured: MeasuredLinks | None = None) -> Carrier:
        """Make a fabric ready to carry transfers.

        Parameters
        ----------
        fabric : Fabric
            What carries them.
        seed : int
            Of the hash that chooses paths, and of the marks that packets draw.
        measured : MeasuredLinks, optional
            What takes the place of line rates; needed where ``calibration`` names a file, which
            :func:`zcube.calibrate.links.carrier_on` reads.

        Raises
        ------
        InputError
            If the routing is not one of the fabric's.
        ValueError
            If ``calibration`` names a file and ``measured`` is left out.
        """
        from zcube.network.carrier import Carrier

        if self.calibration is not None and measured is None:
            raise ValueError("a network with a calibration file needs its measured links: zcube.calibrate.links.carrier_on")
        return Carrier.of(self, fabric, seed, measured)


@contextmanager
def told_with_routings(keys: Any, where: Callable[[str], str]) -> Iterator[None]:
    """Add the routings that nobody knows to what else is wrong with keys of ``[network]`` or of tables in it.

    By themselves they are found with the fabrics, beside what else is wrong with those.

    Parameters
    ----------
    keys : mapping
        As declared, whatever is wrong with it.
    where : callable
        Gives the place of a key in what the user wrote.

    Raises
    ------
    InputError
        With every fault.
    """
    try:
        yield
    except InputError as error:
        raise InputError([*error.faults, *_unknown_routings(keys, where)]) from error


def _unknown_routings(keys: Any, where: Callable[[str], str], table: str = "") -> Iterator[Fault]:
    for key, value in keys.items() if isinstance(keys, Mapping) else ():
        if key == "routing" and isinstance(value, str) and value not in (DEFAULT, *routings()):
            yield Fault(where(f"{table}{key}"), repr(value), "one of " + ", ".join((DEFAULT, *routings())))
        elif isinstance(value, Mapping):
            yield from _unknown_routings(value, where, f"{table}{key}.")
