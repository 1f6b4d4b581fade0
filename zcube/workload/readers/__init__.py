"""Reading request traces: one module a format, ``catalog`` tells which by content."""

from zcube.workload.readers.catalog import read_requests
from zcube.workload.readers.options import ReadOptions

__all__ = ["ReadOptions", "read_requests"]
