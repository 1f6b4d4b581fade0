"""Transfers and traces over one fabric, request traces, and files to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.calibrate.links import carrier_on
from zcube.errors import Fault, InputError
from zcube.front_door.given import FabricLike, check_type, fabric_of
from zcube.inputs import faults_of
from zcube.network import settings
from zcube.network.carrier import Carrier
from zcube.progress import Progress, silent
from zcube.replays.banded import ReplayTask, replay_with_band
from zcube.replays.flows import Replay
from zcube.replays.gpus import gpu_numbers, known_gpus
from zcube.replays.operations import TraceReplay
from zcube.samples.catalog import Demo, write_samples
from zcube.trace.comm_trace import CommTrace
from zcube.trace.files import is_trace
from zcube.trace.files import read_trace as load_trace
from zcube.workload.flow_lists import FlowList, flows_of_frame, read_flows
from zcube.workload.readers import read_requests
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    import pandas as pd


class Network(settings.Network):
    """How bytes move: the keys of ``[network]`` as keyword arguments; docs/scenarios.md lists them."""

    if not TYPE_CHECKING:

        def __init__(self, **keys: Any):
            """Raise an :class:`~zcube.errors.InputError` with every fault of the keys."""
            with settings.told_with_routings(keys, "Network: {}".format), faults_of("Network", settings.Network):
                super().__init__(**keys)


def replay(
    fabric: FabricLike,
    transfers: str | Path | pd.DataFrame | FlowList | CommTrace,
    network: Network | None = None,
    *,
    seed: int = 0,
    collectives: Mapping[str, str] | None = None,
    first_server: int = 0,
    server_stride: int = 1,
    against: str | Path | CommTrace | None = None,
    progress: Progress = silent,
) -> Replay | TraceReplay:
    """Carry listed transfers, or run a communication trace, over a fabric.

    Parameters
    ----------
    fabric : str, Path or Fabric
        What carries them.
    transfers : str, Path, pandas.DataFrame, FlowList or CommTrace
        A list of transfers or a trace, as a file (CSV, Parquet, JSON Lines) or in memory; a frame has the columns
        ``src, dst, bytes, start_s`` and may have ``id, cap_gbps, weight, coflow``, see docs/replay.md.
    network : Network, optional
        How bytes move; default: the max-min fluid.
    seed : int
        Of the hash that chooses paths, and of the marks that packets draw.
    collectives : mapping, optional
        Of a trace: algorithm by collective, e.g. ``{"all-reduce": "ring"}``.
    first_server, server_stride : int
        Of a trace: server of its first node, and servers from one of its nodes to the next.
    against : str, Path or CommTrace, optional
        Of a trace: the same job with recorded durations, which simulated ones are held against; default: the trace's own.
    progress : Progress, optional
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        With every fault of what was given, before the run starts.
    RunError
        If nothing can move any more.
    TypeError
        If an argument is of another type.
    """
    check_type("network", network, settings.Network | None, "a zcube.Network, as zcube.Network(fidelity='packet') makes one")
    carrier = carrier_on(fabric_of(fabric), network or Network(), seed)
    given = _loaded(transfers, carrier)
    options: dict[str, Any] = {}
    if not isinstance(given, FlowList):
        recording = against if against is None or isinstance(against, CommTrace) else load_trace(Path(against))
        options = {
            "collectives": collectives,
            "first_server": first_server,
            "server_stride": server_stride,
            "against": recording,
        }
    return replay_with_band(ReplayTask(carrier, given, options), progress=progress)


def load_requests(path: str | Path, *, max_requests: int | None = None) -> RequestTrace:
    """Read a request trace, telling its format by content; as :func:`~zcube.workload.readers.read_requests`."""
    return read_requests(Path(path), max_requests=max_requests)


def demo(folder: str | Path = "zcube-demo", *, seed: int = 0) -> Demo:
    """Write sample inputs, which the documentation's examples name: transfers, requests, measurements, recordings.

    Parameters
    ----------
    folder : str or Path
        New, empty, or holding nothing but samples of an earlier call, unchanged; one that holds all of them stays as it is.
    seed : int
        What they are made from.

    Raises
    ------
    InputError
        If the folder holds anything else, or the seed is no whole number from 0 on.
    """
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise InputError(Fault("seed", repr(seed)[:80], "a whole number from 0 to 2^63 - 1"))
    return write_samples(Path(folder), seed)


def _loaded(given: str | Path | pd.DataFrame | FlowList | CommTrace, carrier: Carrier) -> FlowList | CommTrace:
    if isinstance(given, FlowList | CommTrace):
        return given
    fabric = carrier.fabric

    def numbers(names: Any) -> Any:
        return gpu_numbers(fabric, names)

    if not isinstance(given, str | Path):
        import pandas as pd

        expected = "a file, a pandas frame, a list of transfers or a trace"
        check_type("transfers", given, pd.DataFrame, expected)
        return flows_of_frame(given, numbers, known_gpus=known_gpus(fabric))
    path = Path(given)
    return load_trace(path) if is_trace(path) else read_flows(path, numbers, known_gpus=known_gpus(fabric))
