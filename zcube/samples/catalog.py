"""Every sample by its file name, and the folder that they are written into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zcube import __version__
from zcube.out_folder import RECORD_VERSION, out_folder
from zcube.samples import measurements, recordings, requests, transfers
from zcube.workplace import clear_leftovers, no_way


@dataclass(frozen=True, slots=True)
class Sample:
    """One kind of sample.

    Attributes
    ----------
    what : str
        What the files hold, for the list of samples.
    makers : mapping of str to callable
        By file name: returns the content for a seed.
    """

    what: str
    makers: Mapping[str, Callable[[int], bytes]]


SAMPLES = (
    Sample(
        "KV caches from prefill to decode servers, transfers for zcube replay and matrix", {"flows.csv": transfers.funnel_csv}
    ),
    Sample("requests of coding agents, in the Mooncake format", {"trace.jsonl": requests.mooncake_jsonl}),
    Sample("sessions as aiperf's data sets have them, new tokens a turn", {"dataset.jsonl": requests.sessions_jsonl}),
    Sample("a gateway's log with columns of its own", {"log.csv": requests.log_csv}),
    Sample(
        "output of nccl-tests for zcube calibrate, and of a second run; made by a formula, not measured",
        {
            "nccl-tests.txt": measurements.nccl_tests_text,
            "nccl-tests-later.txt": partial(measurements.nccl_tests_text, run=measurements.LATER),
        },
    ),
    Sample(
        "NCCL's log of a job on two hosts, for zcube trace import",
        {f"nccl.host{host}.log": partial(recordings.host_log, host=host) for host in range(recordings.HOSTS)},
    ),
    Sample(
        "PyTorch's profile of every rank of the same job",
        {f"kineto_rank{rank}.json.gz": partial(recordings.rank_profile, rank=rank) for rank in range(recordings.RANKS)},
    ),
    Sample(f"cables of {transfers.WIRED} as found, two of them swapped", {"found.dot": transfers.swapped_cables_dot}),
)


@dataclass(frozen=True)
class Demo:
    """Samples as they were written.

    Attributes
    ----------
    folder : Path
        Where they are.
    seed : int
        What they were made from.
    sizes_bytes : mapping of str to int
        By file name.
    is_new : bool
        Whether they were written, and not there already.
    """

    folder: Path
    seed: int
    sizes_bytes: Mapping[str, int]
    is_new: bool

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        files = [
            {"file": name, "bytes": self.sizes_bytes[name], "what": sample.what} for sample in SAMPLES for name in sample.makers
        ]
        return {"folder": str(self.folder), "seed": self.seed, "written": self.is_new, "files": files}


def write_samples(folder: Path, seed: int = 0) -> Demo:
    """Write every sample into a folder of their own.

    Where all of them are in the folder, as this seed gives them, nothing is done, whatever else the folder holds.

    Parameters
    ----------
    folder : Path
        New, empty, or holding nothing but samples of an earlier call, unchanged.
    seed : int
        What they are made from, at least 0.

    Raises
    ------
    InputError
        If the folder holds anything else, or cannot be written.
    """
    contents = {name: make(seed) for sample in SAMPLES for name, make in sample.makers.items()}
    sizes = MappingProxyType({name: len(content) for name, content in contents.items()})
    if _is_there(folder, contents):
        clear_leftovers(folder)
        return Demo(folder, seed, sizes, is_new=False)

    def fill(temporary: Path) -> None:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)

    record = {"record_version": RECORD_VERSION, "zcube_version": __version__, "demo": {"seed": seed}}
    return Demo(out_folder(folder).write(fill, record), seed, sizes, is_new=True)


def _is_there(folder: Path, contents: Mapping[str, bytes]) -> bool:
    """Return whether a folder holds all these files with this content."""
    return all(
        not no_way(path := folder / name)
        and path.is_file()
        and path.stat().st_size == len(content)
        and path.read_bytes() == content
        for name, content in contents.items()
    )
