"""Packed recordings that unpack to far more than logs do: read as far as their bounds, and said to break there."""

import gzip
import time
import zlib

import pytest
from recorded_formats import nccl_call, nccl_init

from zcube.trace.importers.catalog import import_trace
from zcube.trace.importers.source import FREELY_UNPACKED_BYTES, MAX_UNPACKING, CutShort, Source

HEAD = (nccl_init(0, 2) + nccl_call("AllReduce", 1000, 7)).encode()


def bomb(path, filler, times):
    """Write a packed log whose rest is one piece over and over."""
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as handle:
        handle.write(packer.compress(HEAD))
        for _ in range(times):
            handle.write(packer.compress(filler))
        handle.write(packer.flush())
    return path


@pytest.mark.parametrize("filler", [b"\0", b"\n", b"{", b"[[", b'{"a":'], ids=["zeros", "lines", "braces", "brackets", "keys"])
def test_a_bomb_ends_at_its_bound(tmp_path, filler):
    path = bomb(tmp_path / "log.gz", filler * ((1 << 20) // len(filler)), 60)
    assert path.stat().st_size < 1 << 20
    begun = time.process_time()
    imported = import_trace([path])
    assert time.process_time() - begun < 60.0
    assert "unpack to more than" in imported.broken.found
    assert imported.report.operations["all-reduce"].size_bytes == 4000
    unpacked = 0
    with pytest.raises(CutShort, match="unpack to more than"):
        for chunk in Source(path, 0).chunks():
            unpacked += len(chunk)
    assert unpacked <= FREELY_UNPACKED_BYTES


def test_many_members_that_unpack_much_are_bounded_together(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(HEAD) + gzip.compress(b"\0" * (1 << 20)) * 60)
    assert "unpack to more than" in import_trace([path]).broken.found


def test_a_long_log_of_like_lines_is_read_whole(tmp_path):
    """Lines that differ in a counter, as NCCL's do, pack far less than the bound allows."""
    lines = "".join(nccl_call("AllReduce", 1000, 7, opc=number) for number in range(3000)).encode()
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(nccl_init(0, 2).encode() + lines, 9))
    assert len(lines) / path.stat().st_size < MAX_UNPACKING / 2
    imported = import_trace([path])
    assert imported.broken is None
    assert imported.report.operations["all-reduce"].size_bytes == 3000 * 4000
