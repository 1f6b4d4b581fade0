"""Reading measured runs: nccl-tests text and JSON, tables of NCCL latencies, NCCL Inspector, this program's own file."""

from zcube.calibrate.readers.catalog import read_files, read_measured
from zcube.calibrate.readers.options import ReadOptions

__all__ = ["ReadOptions", "read_files", "read_measured"]
