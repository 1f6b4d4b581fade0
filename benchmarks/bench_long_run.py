"""Time ten simulated minutes of 1,024 GPUs on two fabrics, room by room, with each fluid.

    python benchmarks/bench_long_run.py [--scenario glm51-pd-1024] [--requests 14400] [--fidelity flow]... [--overlap]

--overlap makes transfers meet: KV in bf16 over NICs of 50 Gb/s and one queue pair, so that many are under way at once.

Every fidelity runs in a process of its own, from the scenario to the written folder. Rooms: *workload* builds fabrics and makes
requests; *network* moves bytes, on the fabric and on the ideal core beside it; *serving* is the rest of the runs; *report*
makes the document, tables, pictures and page; *imports* is what came before. CPU seconds of one process by room, so that a busy
machine does not blur them, wall clock and CPU of all, one run after the other; peak memory is the process's. Kernels are
compiled before, unless --cold. The bounds that this project gives itself, 60 s with ``flow`` and 300 s with ``lossless`` on two
cores, are printed beside; no time is asserted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BOUND_S = {"flow": 60, "lossless": 300}
OVERLAP = ("kv.dtype=bf16", "network.nic_gbps=50", "network.queue_pairs=1")
#: What a serving run asks of the network.
NETWORK = (
    "advance", "advance_groups", "post", "paths", "open_group", "completions", "link_table", "run_in_turn", "next_group_s",
)  # fmt: skip


class Rooms:
    """CPU seconds by room, a room's own: what it calls in another one counts there."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[str] = []
        self._since_s = time.process_time()

    @contextmanager
    def room(self, name: str) -> Iterator[None]:
        """Count what passes under a name."""
        self._turn()
        self._inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def _turn(self) -> None:
        now_s = time.process_time()
        if self._inside:
            self.seconds[self._inside[-1]] += now_s - self._since_s
        self._since_s = now_s

    def counted(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a method whose time counts as a room's, unless it is called from there."""

        def call(*given: Any, **named: Any) -> Any:
            if self._inside and self._inside[-1] == name:
                return method(*given, **named)
            with self.room(name):
                return method(*given, **named)

        return call


def timed(scenario: str, changes: dict[str, Any], assignments: list[str], began_s: float) -> dict[str, Any]:
    """Run a scenario from its name to its folder; return seconds by room, memory, and what was simulated."""
    rooms = Rooms()
    with rooms.room("imports"):
        import zcube.comparison as comparison_module
        from zcube.network.flow_model import FlowModel
        from zcube.out_folder import out_folder
        from zcube.report.folder import write_folder
        from zcube.scenario import load_scenario
    for name in NETWORK:
        setattr(FlowModel, name, rooms.counted(getattr(FlowModel, name), "network"))
    comparison_module.prepare = rooms.counted(comparison_module.prepare, "workload")
    with rooms.room("workload"):
        declared = load_scenario(scenario, changes, assignments)
    with rooms.room("serving"):
        compared = comparison_module.compare(declared)
    with tempfile.TemporaryDirectory(prefix="zcube-long-") as place, rooms.room("report"):
        document = compared.document()
        write_folder(compared, {}, out_folder(Path(place) / "out"))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    runs = [result.run for result in compared.results.values()]
    return {
        "rooms_s": dict(rooms.seconds),
        "wall_s": time.time() - began_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1e3,
        "simulated_s": [run.end_s for run in runs],
        "requests": len(compared.trace),
        "transfers": [len(run.flows) for run in runs],
        "under_way": [float(run.completions.sending_s(run.flows.start_s).sum() / run.end_s) for run in runs],
        "unsteady": [fabric["window"]["no_rate"] or fabric["window"]["unsteady"] for fabric in document["fabrics"].values()],
    }


def in_child(pipe: Any, *given: Any) -> None:
    """Send what :func:`timed` returns."""
    pipe.send(json.dumps(timed(*given)))


def main() -> None:
    """Print a table of rooms, a column a fidelity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="glm51-pd-1024")
    parser.add_argument("--requests", type=int, default=14_400)
    parser.add_argument("--fidelity", action="append", choices=BOUND_S)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cold", action="store_true", help="compile kernels within the time, if they are not kept")
    parser.add_argument("--overlap", action="store_true", help="KV in bf16, NICs of 50 Gb/s, one queue pair")
    asked = parser.parse_args()
    settings = [*(OVERLAP if asked.overlap else ()), *asked.set]
    spawning, found = multiprocessing.get_context("spawn"), {}
    for fidelity in asked.fidelity or BOUND_S:
        for requests in [asked.requests] if asked.cold else [20, asked.requests]:
            changes = {"network.fidelity": fidelity, "requests.count": requests}
            ours, theirs = spawning.Pipe(duplex=False)
            child = spawning.Process(target=in_child, args=(theirs, asked.scenario, changes, settings, time.time()))
            child.start()
            theirs.close()
            found[fidelity] = json.loads(ours.recv())
            child.join()
    rooms = ("imports", "workload", "serving", "network", "report")
    print(f"{'CPU seconds':24}" + "".join(f"{name:>14}" for name in found))
    for room in rooms:
        print(f"{room:24}" + "".join(f"{one['rooms_s'].get(room, 0.0):14.2f}" for one in found.values()))
    for key, name in (("wall_s", "wall clock"), ("cpu_s", "CPU"), ("peak_mb", "peak memory, MB")):
        print(f"{name:24}" + "".join(f"{one[key]:14.2f}" for one in found.values()))
    print(f"{'bound, wall clock':24}" + "".join(f"{BOUND_S[name]:14d}" for name in found))
    for name, one in found.items():
        under_way = ", ".join(f"{count:.1f}" for count in one["under_way"])
        times = ", ".join(f"{seconds:.0f}" for seconds in one["simulated_s"])
        print(f"{name}: {one['requests']:,} requests, {one['transfers']} transfers, {under_way} under way, {times} s")
        print(f"{name}: not steady: {one['unsteady']}")


if __name__ == "__main__":
    main()
