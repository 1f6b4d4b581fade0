"""PyTorch's distributed package as the layer that the benchmarks run on: NCCL on GPUs, gloo on CPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from zcube.calibrate.measure.benchmarks import value

#: Elements that are filled or checked at once; their indices are 8 bytes each.
BLOCK = {"nccl": 1 << 24, "gloo": 1 << 18}
#: Value of what is not received; 255 where the type has no sign.
POISON = -1
#: What of the free memory one buffer may take: two of each size, those of smaller sizes still cached, and a margin.
BUFFER_SHARE = 0.15
#: Longest and first wait in front of a batch.
MAX_WAIT_S = 20e-3
FIRST_WAIT_S = 300e-6
_PROBE_CYCLES = 20_000_000


def place() -> tuple[int, int, int, int]:
    """Return rank, ranks, rank on this host and ranks on this host, from torchrun's, Open MPI's, MPICH's or Slurm's variables.

    Raises
    ------
    RuntimeError
        If none of them is set.
    """
    families = (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
        ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    )
    for rank, world, local_rank, local_world in families:
        if rank in os.environ and world in os.environ:
            size = int(os.environ[world])
            return int(os.environ[rank]), size, int(os.environ.get(local_rank, 0)), int(os.environ.get(local_world, size))
    raise RuntimeError("no rank in the environment; start the worker with torchrun or mpirun")


class GpuClock:
    """Times batches on a GPU by its own clock, with the launching hidden behind a wait on the device.

    Parameters
    ----------
    cuda : module
        ``torch.cuda``.

    Attributes
    ----------
    wait_s : float
        How long the device waits in front of a batch; doubled each time it turns out too short.
    cycles_per_s : float
        Of the device's wait; 0 where this PyTorch has none, and launching is not hidden.
    """

    def __init__(self, cuda: Any):
        self._cuda, self.wait_s = cuda, FIRST_WAIT_S
        self.cycles_per_s = self._measured_cycles_per_s() if hasattr(cuda, "_sleep") else 0.0

    def timed(self, align: Callable[[], None], call: Callable[[], None], batch: int) -> tuple[float, bool]:
        """Queue a wait, the aligning and the batch; return the seconds per call and whether launching was hidden.

        It was if the device had not reached the first mark when the host had queued everything.
        """
        cuda = self._cuda
        first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        cuda.synchronize()
        if self.cycles_per_s:
            cuda._sleep(int(self.wait_s * self.cycles_per_s))
        align()
        first.record()
        for _ in range(batch):
            call()
        last.record()
        hidden = not first.query()
        last.synchronize()
        if not hidden:
            self.wait_s = min(2 * self.wait_s, MAX_WAIT_S)
        return first.elapsed_time(last) * 1e-3 / batch, hidden

    def _measured_cycles_per_s(self) -> float:
        cuda = self._cuda
        first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        # The first wait raises the clock from idle, the second is timed.
        cuda._sleep(_PROBE_CYCLES)
        first.record()
        cuda._sleep(_PROBE_CYCLES)
        last.record()
        last.synchronize()
        return float(_PROBE_CYCLES / (first.elapsed_time(last) * 1e-3))


class TorchLayer:
    """A rank of a process group (see :class:`~zcube.calibrate.measure.benchmarks.Layer`).

    Parameters
    ----------
    backend : str
        ``"nccl"`` or ``"gloo"``.
    timeout_s : float
        How long a rank waits for another.
    """

    def __init__(self, backend: str, timeout_s: float):
        import torch
        import torch.distributed as distributed

        self.torch, self.distributed, self.backend = torch, distributed, backend
        self.rank, self.world, self.local_rank, self.local_world = place()
        # mpirun sets none of these; PyTorch's rendezvous through the environment needs them.
        os.environ.update(RANK=str(self.rank), WORLD_SIZE=str(self.world))
        self.gpu = backend == "nccl"
        # A launcher that gives each rank one visible GPU makes that GPU number 0 to every rank.
        index = self.local_rank % max(1, torch.cuda.device_count()) if self.gpu else 0
        if self.gpu:
            torch.cuda.set_device(index)
        self.device = torch.device("cuda", index) if self.gpu else torch.device("cpu")
        bound = {"device_id": self.device} if self.gpu else {}
        distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_s), **bound)
        self._aligning = torch.zeros(1, device=self.device)
        self._clock = GpuClock(torch.cuda) if self.gpu else None

    def close(self) -> None:
        """Leave the process group."""
        self.distributed.destroy_process_group()

    def empty(self, count: int, dtype: str) -> Any:
        """Return a buffer of ``count`` elements."""
        return self.torch.empty(count, dtype=getattr(self.torch, dtype), device=self.device)

    def part(self, buffer: Any, first: int, count: int) -> Any:
        """Return a view of some elements."""
        return buffer[first : first + count]

    def fill(self, buffer: Any, source: int, modulus: int) -> None:
        """Write what rank ``source`` sends."""
        for block, index in self._blocks(buffer, 0):
            block.copy_(value(index, source, modulus))

    def poison(self, buffer: Any) -> None:
        """Write a value that is never sent."""
        buffer.fill_(POISON if buffer.dtype.is_floating_point else 255)

    def copy(self, target: Any, source: Any) -> None:
        """Copy one buffer to another of its length."""
        target.copy_(source)

    def wrong(self, buffer: Any, sources: Sequence[int], first: int, modulus: int) -> int:
        """Return how many elements differ from the sum of what ``sources`` hold from element ``first`` on."""
        found = 0
        for block, index in self._blocks(buffer, first):
            expected = self.torch.zeros_like(index)
            for source in sources:
                expected += value(index, source, modulus)
            found += int((block.float() != expected.float()).sum())
        return found

    def alltoall(self, received: Any, sent: Any) -> None:
        """Send the j-th part to rank j."""
        self.distributed.all_to_all_single(received, sent)

    def all_gather(self, received: Any, sent: Any) -> None:
        """Collect every rank's buffer."""
        self.distributed.all_gather_into_tensor(received, sent)

    def reduce_scatter(self, received: Any, sent: Any) -> None:
        """Sum up and keep the own part."""
        self.distributed.reduce_scatter_tensor(received, sent)

    def all_reduce(self, buffer: Any) -> None:
        """Sum up in place."""
        self.distributed.all_reduce(buffer)

    def broadcast(self, buffer: Any, root: int) -> None:
        """Send the root's buffer to all."""
        self.distributed.broadcast(buffer, root)

    def exchange(self, sends: Sequence[tuple[Any, int]], receives: Sequence[tuple[Any, int]]) -> None:
        """Send and receive (buffer, peer) as one group of NCCL calls and wait, on the device's stream."""
        link = self.distributed
        calls = [link.P2POp(link.isend, buffer, peer) for buffer, peer in sends]
        calls += [link.P2POp(link.irecv, buffer, peer) for buffer, peer in receives]
        for work in link.batch_isend_irecv(calls) if calls else ():
            work.wait()

    def share(self, values: Sequence[float]) -> list[list[float]]:
        """Return the values of every rank, by rank."""
        own = self.torch.tensor(values, dtype=self.torch.float64, device=self.device)
        every = self.torch.empty(self.world * len(values), dtype=self.torch.float64, device=self.device)
        self.distributed.all_gather_into_tensor(every, own)
        return every.view(self.world, -1).tolist()

    def timed(self, call: Callable[[], None], batch: int) -> tuple[float, bool]:
        """Return the seconds per call of ``batch`` calls, begun at once on all ranks, and whether launching was hidden."""
        if self._clock:
            return self._clock.timed(self._align, call, batch)
        self._align()
        begin = time.perf_counter()
        for _ in range(batch):
            call()
        return (time.perf_counter() - begin) / batch, True

    def _align(self) -> None:
        """Hold every rank until all have come here."""
        self.distributed.all_reduce(self._aligning)

    def free_bytes(self) -> int:
        """Return the memory of the device that no one holds, on a CPU the system's own estimate."""
        if self.gpu:
            return int(self.torch.cuda.mem_get_info()[0])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // self.local_world

    def facts(self) -> dict[str, Any]:
        """Return the versions and the device that this rank sees."""
        torch = self.torch
        found: dict[str, Any] = {"torch": str(torch.__version__), "backend": self.backend, "ranks_on_host": self.local_world}
        if self.gpu:
            device = torch.cuda.get_device_properties(self.device)
            found |= {
                "cuda": str(torch.version.cuda),
                "nccl": ".".join(str(part) for part in torch.cuda.nccl.version()),
                "device": device.name,
                "device_memory_bytes": int(device.total_memory),
                "launch_hidden_by_wait": bool(self._clock and self._clock.cycles_per_s),
            }
        return found

    def _blocks(self, buffer: Any, first: int) -> Any:
        most = BLOCK[self.backend]
        for begin in range(0, buffer.numel(), most):
            block = buffer[begin : begin + most]
            yield block, self.torch.arange(first + begin, first + begin + block.numel(), device=self.device)
