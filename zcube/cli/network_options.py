"""Options that say how bytes move, shared by the verbs that carry transfers over one fabric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion

if TYPE_CHECKING:
    from zcube.network.settings import Network

FIDELITY = typer.Option(
    help="ideal (only NIC links limit), flow (max-min), lossless (with back-pressure) or packet (RoCE).",
    autocompletion=completion.one_of(*completion.FIDELITIES),
)
FidelityOption = Annotated[str, FIDELITY]
RoutingOption = Annotated[str, typer.Option(help="Routing policy; default: the one of the family; hash: one path a flow.")]
FallBackOption = Annotated[
    str, typer.Option(help="For paths lost to failures: nvlink-relay, second-port or none; see docs/models.md.")
]
QueuePairsOption = Annotated[int, typer.Option(help="Queue pairs a flow, where paths are hashed.")]
MostPathsOption = Annotated[int, typer.Option(min=1, max=4096, help="Paths of a pair at most that routing equal-paths lists.")]
PathSplitOption = Annotated[str, typer.Option(help="pooled (paths share one pool of bytes) or fixed (equal parts).")]
NicRateOption = Annotated[float | None, typer.Option(help="Limit every GPU's NIC ports together to a rate, Gb/s.")]
IsolationOption = Annotated[
    float, typer.Option(help="Lossless: how far congestion control spares victims, 0 (not at all) to 1; see docs/lossless.md.")
]
CalibrationOption = Annotated[str | None, typer.Option(help="Measured rates and latencies of links, of zcube calibrate fit.")]
CalibrationsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Measured links, or measured tiles of decode, both of zcube calibrate fit; repeat to take one of each.",
    ),
]
DrawsOption = Annotated[
    int | None,
    typer.Option(
        help="Further runs that give the band of a calibration's intervals; default 20, of a long replay 2; 0: no band."
    ),
]
ComparedDrawsOption = Annotated[
    int | None,
    typer.Option(
        help="Further runs of each fabric that give the band of a calibration's intervals; default 2, the ends; 0: none."
    ),
]
MemoryOption = Annotated[
    float | None, typer.Option(min=0.0, help="Most memory to use, in 1e9 bytes; default: what is available.")
]

SkipOption = Annotated[
    str | None, typer.Option(metavar="off|steady|reuse", help="Packets: what is steady goes by rate, see docs/packets.md.")
]

#: Packet settings that options of their own stand for, by the option's parameter.
OF_PACKETS = {"congestion_control": "congestion_control", "cell_bytes": "cell_bytes", "packet_skip": "skip.mode"}


def network_from(given: Mapping[str, Any]) -> Network:
    """Return what the options of a command say of the network; options that it has not keep their defaults.

    Parameters
    ----------
    given : mapping
        Value by name of the parameter. ``packet_set`` holds ``KEY=VALUE`` of packet settings.

    Raises
    ------
    InputError
        With every option that is not as it should be, by its name.
    """
    from zcube.inputs import assign, set_key, validate
    from zcube.network.settings import Network, told_with_routings

    packet: dict[str, Any] = {}
    assign(packet, given.get("packet_set") or (), "--packet-set")
    for name, key in OF_PACKETS.items():
        if given.get(name) is not None:
            set_key(packet, key, given[name], _option(f"packet.{key}"))
    data = {key: given[key] for key in Network.model_fields if given.get(key) is not None}
    with told_with_routings(data, _option):
        return validate(Network, data | {"packet": packet}, _option)


@contextmanager
def told_by_options() -> Iterator[None]:
    """Name the options that keys of packets stand behind which turn out to be wrong on a fabric."""
    from zcube.errors import Fault, InputError

    try:
        yield
    except InputError as error:
        named = [_option(one.where) if one.where.startswith("packet.") else one.where for one in error.faults]
        raise InputError(
            Fault(where, one.found, one.expected) for where, one in zip(named, error.faults, strict=True)
        ) from error


def _option(key: str) -> str:
    """Return the option that a key of the network stands behind."""
    inner = key.removeprefix("packet.")
    named = {setting: name for name, setting in OF_PACKETS.items()} | {"packet": "packet_set"}
    if inner == key or inner in named:
        return "--" + named.get(inner, inner).replace("_", "-")
    return f"--packet-set {inner}"
