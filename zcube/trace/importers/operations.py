"""Sizes that the formats share: of data types, and what a count means for each collective."""

from __future__ import annotations

import re

#: A kernel of NCCL by its name: ``ncclKernel_``, ``ncclDevKernel_``, of symmetric memory ``ncclSymDevKernel_`` and
#: ``ncclSymkDevKernel_``.
NCCL_KERNEL = re.compile(r"nccl(?:Symk?)?(?:Dev)?Kernel", re.IGNORECASE)

#: Bytes of one element by NCCL's enumeration (nccl.h, ncclDataType_t).
NCCL_ENUM_BYTES = {0: 1, 1: 1, 2: 4, 3: 4, 4: 8, 5: 8, 6: 2, 7: 4, 8: 8, 9: 2, 10: 1, 11: 1}
#: Bytes of one element by name: NCCL's (nccl.h) and PyTorch's (c10/core/ScalarType.h), in lower case.
TYPE_BYTES = {
    "ncclint8": 1, "ncclchar": 1, "nccluint8": 1, "ncclint32": 4, "ncclint": 4, "nccluint32": 4, "ncclint64": 8,
    "nccluint64": 8, "ncclfloat16": 2, "ncclhalf": 2, "ncclfloat32": 4, "ncclfloat": 4, "ncclfloat64": 8, "nccldouble": 8,
    "ncclbfloat16": 2, "ncclfloat8e4m3": 1, "ncclfloat8e5m2": 1,
    "byte": 1, "char": 1, "short": 2, "int": 4, "long": 8, "half": 2, "float": 4, "double": 8, "bool": 1, "bfloat16": 2,
    "complexhalf": 4, "complexfloat": 8, "complexdouble": 16, "qint8": 1, "quint8": 1, "qint32": 4, "uint16": 2, "uint32": 4,
    "uint64": 8, "float8_e5m2": 1, "float8_e4m3fn": 1, "float8_e5m2fnuz": 1, "float8_e4m3fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip


def bytes_put_in(operation: str, count_bytes: int, ranks: int) -> int:
    """Return what one rank puts in, from the count that NCCL's call takes.

    The count is the sendcount of an all-gather or gather (the rank's own part), the recvcount of a reduce-scatter or scatter
    (one rank's part of the result, so that the input is ``ranks`` times as large) and the count per peer of an all-to-all
    (NCCL user guide, collective communication functions); for all others it is the whole buffer.
    """
    return count_bytes * ranks if operation in ("reduce-scatter", "scatter", "all-to-all") else count_bytes
