"""The benchmarks on a stand-in communication layer: ranks as threads, numpy buffers, a clock that is told its times."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from zcube.calibrate.measure.benchmarks import BENCHMARKS, DTYPE_BYTES, MODULUS, Prepared, modulus, value
from zcube.calibrate.measure.patterns import PATTERNS, run_pattern, steps
from zcube.calibrate.measure.timing import Effort, quantile, take
from zcube.calibrate.measure.torch_layer import GpuClock
from zcube.calibrate.measure.worker import run

NUMPY = {"uint8": np.uint8, "bfloat16": np.float32, "float32": np.float32}
EFFORT = Effort(warmup=3, budget_s=1e-3, least=5, most=5)
PLAN = {
    "operations": [benchmark.operation for benchmark in BENCHMARKS],
    "sizes_bytes": [64, 1200],
    "dtypes": ["bfloat16"],
    "patterns": [],
    "pattern_sizes_bytes": [],
    "warmup": 3,
    "budget_s": 1e-3,
    "least_repetitions": 5,
    "most_repetitions": 5,
}


class World:
    """What the ranks of a stand-in have in common; ``damage(rank, received)`` may spoil what a rank receives."""

    def __init__(self, world, seconds=lambda rank, number: 1e-3, damage=None, free_bytes=1 << 40):
        self.world, self.seconds, self.damage, self.memory = world, seconds, damage, free_bytes
        self.barrier = threading.Barrier(world, timeout=10)
        self.slots = [None] * world

    def swap(self, rank, content):
        """Return what every rank has put in, by rank."""
        self.slots[rank] = content
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found

    def everywhere(self, job):
        """Run a job on every rank and return the results by rank."""
        with ThreadPoolExecutor(self.world) as pool:
            futures = [pool.submit(job, Rank(self, rank)) for rank in range(self.world)]
            for future in futures:
                if future.exception():
                    self.barrier.abort()
            return [future.result() for future in futures]


class Rank:
    """One rank of a stand-in layer; each collective is written from its definition, on copies."""

    def __init__(self, shared, rank):
        self.shared, self.rank, self.world, self.number = shared, rank, shared.world, 0

    def empty(self, count, dtype):
        return np.full(count, 77, dtype=NUMPY[dtype])

    def part(self, buffer, first, count):
        return buffer[first : first + count]

    def fill(self, buffer, source, modulus):
        buffer[:] = value(np.arange(buffer.size), source, modulus)

    def poison(self, buffer):
        buffer[:] = 255 if buffer.dtype == np.uint8 else -1

    def copy(self, target, source):
        target[:] = source

    def wrong(self, buffer, sources, first, modulus):
        index = np.arange(first, first + buffer.size)
        return int((buffer != sum(value(index, source, modulus) for source in sources)).sum())

    def _take(self, buffer, content):
        buffer[:] = content
        if self.shared.damage:
            self.shared.damage(self.rank, buffer)

    def alltoall(self, received, sent):
        every = self.shared.swap(self.rank, sent.reshape(self.world, -1).copy())
        self._take(received, np.concatenate([parts[self.rank] for parts in every]))

    def all_gather(self, received, sent):
        self._take(received, np.concatenate(self.shared.swap(self.rank, sent.copy())))

    def reduce_scatter(self, received, sent):
        total = sum(self.shared.swap(self.rank, sent.copy()))
        self._take(received, total.reshape(self.world, -1)[self.rank])

    def all_reduce(self, buffer):
        self._take(buffer, sum(self.shared.swap(self.rank, buffer.copy())))

    def broadcast(self, buffer, root):
        self._take(buffer, self.shared.swap(self.rank, buffer.copy())[root])

    def exchange(self, sends, receives):
        every = self.shared.swap(self.rank, {peer: buffer.copy() for buffer, peer in sends})
        for buffer, peer in receives:
            self._take(buffer, every[peer][self.rank])

    def share(self, values):
        return self.shared.swap(self.rank, list(values))

    def timed(self, call, batch):
        for _ in range(batch):
            call()
        self.number += 1
        return self.shared.seconds(self.rank, self.number), True

    def free_bytes(self):
        return self.shared.memory


def as_array(gbps):
    return np.array(gbps, dtype=float)


def rows_of(world, **changes):
    results = world.everywhere(lambda layer: run(layer, PLAN | changes, world.world, lambda line: None))
    assert all(result == results[0] for result in results)
    return results[0]


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_sound_data_passes_for_every_operation_and_type(ranks, dtype):
    rows = rows_of(World(ranks), dtypes=[dtype])["rows"]
    assert len(rows) == 2 * len(BENCHMARKS)
    assert all(row["correct"] for row in rows)


@pytest.mark.parametrize("timed", BENCHMARKS, ids=lambda timed: timed.label)
def test_one_wrong_element_on_one_rank_is_seen(timed):
    def damage(rank, received):
        if rank == 1:
            received[received.size // 2] += 1

    found = World(2, damage=damage).everywhere(lambda layer: Prepared(layer, timed, 40, "float32").wrong())
    assert found == [1, 1]


@pytest.mark.parametrize("timed", BENCHMARKS, ids=lambda timed: timed.label)
def test_data_that_never_arrives_is_seen(timed):
    def job(layer):
        prepared = Prepared(layer, timed, 40, "bfloat16")
        prepared.call = lambda: None
        return prepared.wrong()

    assert min(World(2).everywhere(job)) >= 39


def test_shifted_and_swapped_data_is_seen():
    index = np.arange(1 << 18)
    sent = value(index, 3, MODULUS)
    for shift in (1, MODULUS, 256, 65536):
        # The value repeats at the modulus over a short stretch only.
        assert (value(index + shift, 3, MODULUS) != sent).any()
    assert (value(index, 4, MODULUS) != sent).all()


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 254), ("bfloat16", 256)])
def test_sums_are_exact_in_the_type(dtype, most):
    for ranks in (2, 8, 64, most):
        assert (modulus(True, ranks, dtype) - 1) * ranks <= most
    with pytest.raises(ValueError, match="float32"):
        modulus(True, most + 1, dtype)


@pytest.mark.parametrize("ranks", [2, 4])
def test_sizes_are_those_of_nccl_tests(ranks):
    rows = rows_of(World(ranks), sizes_bytes=[1200], dtypes=["float32"])["rows"]
    # nccl-tests: the larger of the two buffers; a part per peer has whole elements.
    for row in rows:
        parted = row["operation"] in ("all-to-all", "all-gather", "reduce-scatter")
        assert row["size_bytes"] == (1200 // (4 * ranks) * 4 * ranks if parted else 1200)


def test_a_size_too_small_for_the_ranks_is_left_out():
    rows = rows_of(World(4), sizes_bytes=[4, 64], dtypes=["float32"])["rows"]
    assert {row["size_bytes"] for row in rows if row["operation"] == "all-to-all"} == {64}


def test_sizes_that_do_not_fit_are_left_out_and_named():
    result = rows_of(World(2, free_bytes=4000), sizes_bytes=[64, 1200])
    assert {row["size_bytes"] for row in result["rows"]} == {64}
    assert any("1200 bytes left out" in note for note in result["notes"])


def test_the_slowest_rank_sets_the_time():
    # Rank 0 is slow in odd calls, rank 1 in even ones: the maximum is the same in all, each rank's own median is not.
    world = World(2, seconds=lambda rank, number: 2e-3 if number % 2 == rank else 1e-3)
    timing = world.everywhere(lambda layer: take(layer, lambda: None, EFFORT))[0]
    assert timing.slowest_s == [2e-3] * 5
    assert {quantile(times, 0.5) for times in timing.by_rank_s} == {1e-3, 2e-3}


def test_medians_and_quantiles_reach_the_row():
    # One call in five takes ten times as long: seen in P90, not in the median.
    world = World(2, seconds=lambda rank, number: 1e-2 if number % 5 == 0 else 1e-3)
    row = rows_of(world, operations=["all-to-all"], sizes_bytes=[64])["rows"][0]
    assert row["time_s"] == pytest.approx(1e-3)
    assert row["p90_s"] > 5e-3
    assert row["min_s"] == pytest.approx(1e-3)
    assert row["repetitions"] == 5


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_quantiles_are_numpys(fraction):
    values = np.random.default_rng(1).random(17)
    assert quantile(list(values), fraction) == pytest.approx(np.quantile(values, fraction), rel=1e-12)


@pytest.mark.parametrize(("single_s", "batch"), [(1e-3, 1), (100e-6, 5), (1e-6, 32)])
def test_short_calls_are_batched(single_s, batch):
    timing = World(2, seconds=lambda rank, number: single_s).everywhere(lambda layer: take(layer, lambda: None, EFFORT))[0]
    assert timing.batch == batch


def test_every_rank_agrees_on_the_repetitions_where_their_clocks_do_not():
    import time

    def job(layer):
        # Rank 1's calls take long on its host; if the ranks chose for themselves, one would wait for ever.
        return take(layer, lambda: time.sleep(2e-3 * layer.rank), Effort(3, 0.03, 5, 50))

    counts = [len(timing.slowest_s) for timing in World(2, seconds=lambda rank, number: 1e-3).everywhere(job)]
    assert counts[0] == counts[1]
    assert 5 <= counts[0] <= 15


def test_pairs_give_each_directions_rate():
    # 1000 bytes: rank 0's calls take 1 us, rank 1's 2 us, rank 2's 4 us; the slower end counts.
    world = World(3, seconds=lambda rank, number: (1e-6, 2e-6, 4e-6)[rank])
    moved = world.everywhere(lambda layer: run_pattern(layer, "pairs", 1000, "uint8", 3, EFFORT))[0]
    assert moved.wrong == 0
    assert as_array(moved.gbps) == pytest.approx(as_array([[None, 4.0, 2.0], [4.0, None, 2.0], [2.0, 2.0, None]]), nan_ok=True)


def test_incast_gives_each_senders_rate_and_outcast_each_receivers():
    world = World(3, seconds=lambda rank, number: (1e-6, 2e-6, 4e-6)[rank])
    incast = world.everywhere(lambda layer: run_pattern(layer, "incast", 1000, "uint8", 3, EFFORT))[0]
    assert as_array(incast.gbps) == pytest.approx(as_array([[None, 8.0, 8.0], [4.0, None, 4.0], [2.0, 2.0, None]]), nan_ok=True)
    outcast = world.everywhere(lambda layer: run_pattern(layer, "outcast", 1000, "uint8", 3, EFFORT))[0]
    assert as_array(outcast.gbps) == pytest.approx(
        as_array([[None, 4.0, 2.0], [8.0, None, 2.0], [8.0, 4.0, None]]), nan_ok=True
    )


def test_rails_fill_a_matrix_of_the_gpus_of_two_hosts():
    moved = World(4).everywhere(lambda layer: run_pattern(layer, "rails", 1000, "uint8", 2, EFFORT))[0]
    assert np.array(moved.gbps, dtype=float) == pytest.approx(np.full((2, 2), 8e-3))
    assert [step.messages for step in steps("rails", 4, 2)] == [((0, 2), (1, 3)), ((0, 3), (1, 2))]


def test_a_wrong_message_in_a_pattern_is_counted():
    def damage(rank, received):
        if rank == 2:
            received[7] += 1

    moved = World(3, damage=damage).everywhere(lambda layer: run_pattern(layer, "incast", 1000, "uint8", 3, EFFORT))[0]
    assert moved.wrong == 2


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("world", "on_host"), [(2, 2), (4, 2), (8, 4)])
def test_each_pattern_measures_each_pair_once_where_it_applies(pattern, world, on_host):
    messages = [message for step in steps(pattern, world, on_host) for message in step.messages]
    assert len(set(messages)) == len(messages)
    if pattern == "rails":
        assert len(messages) == (on_host**2 if world >= 2 * on_host else 0)
    elif messages:
        assert len(messages) == world * (world - 1)


def test_patterns_that_do_not_apply_are_named():
    result = rows_of(World(2), operations=[], patterns=list(PATTERNS), pattern_sizes_bytes=[64])
    assert [matrix["pattern"] for matrix in result["matrices"]] == ["pairs", "pairs-bidirectional"]
    assert len(result["notes"]) == 3


class Gpu:
    """A stand-in for ``torch.cuda``: a host clock and a device that works off a queue; launching takes time, so does work."""

    CYCLES_PER_S, LAUNCH_S, CALL_S = 2e9, 50e-6, 5e-6

    def __init__(self):
        self.host_s = self.device_s = 0.0

    def Event(self, enable_timing):  # noqa: N802 - PyTorch's name
        return Mark(self)

    def synchronize(self):
        self.host_s = max(self.host_s, self.device_s)

    def _queue(self, seconds):
        self.device_s = max(self.device_s, self.host_s) + seconds

    def _sleep(self, cycles):
        self._queue(cycles / self.CYCLES_PER_S)

    def launch(self):
        self.host_s += self.LAUNCH_S
        self._queue(self.CALL_S)


class Mark:
    def __init__(self, gpu):
        self.gpu = gpu

    def record(self):
        self.at_s = max(self.gpu.device_s, self.gpu.host_s)

    def query(self):
        return self.gpu.host_s >= self.at_s

    def synchronize(self):
        self.gpu.host_s = max(self.gpu.host_s, self.at_s)

    def elapsed_time(self, other):
        return (other.at_s - self.at_s) * 1e3


def test_launching_is_not_in_the_time():
    gpu = Gpu()
    clock = GpuClock(gpu)
    assert clock.cycles_per_s == pytest.approx(gpu.CYCLES_PER_S)
    taken = [clock.timed(gpu.launch, gpu.launch, 20) for _ in range(5)]
    # 20 launches of 50 us outlast the first wait of 300 us; two doublings hide them.
    assert [hidden for _, hidden in taken] == [False, False, True, True, True]
    assert taken[0][0] > 2 * gpu.CALL_S
    assert taken[-1][0] == pytest.approx(gpu.CALL_S)


def test_a_device_without_a_wait_says_that_launching_shows():
    gpu = Gpu()
    bare = SimpleNamespace(Event=gpu.Event, synchronize=gpu.synchronize)
    seconds, hidden = GpuClock(bare).timed(gpu.launch, gpu.launch, 20)
    assert not hidden
    assert seconds >= gpu.LAUNCH_S
