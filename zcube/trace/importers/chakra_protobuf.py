"""Chakra execution traces as protobuf (``.et``): one file per rank, a stream of messages each after its length.

The first message is a ``GlobalMetadata``, all others are ``Node``. Field numbers are those of MLCommons Chakra,
schema/protobuf/et_def.proto; the descriptors are built here, so that no generated code is needed, only the package
``protobuf`` (extra ``chakra``). What nodes mean is told in :mod:`~zcube.trace.importers.chakra_nodes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from zcube.errors import Fault, InputError
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.chakra_nodes import ChakraFile, Node, finish, node_times
from zcube.trace.importers.source import CutShort, Source

MAX_MESSAGE_BYTES = 16 << 20
_MAX_VARINT_BYTES = 10
#: Tags a first message may begin with: version (1) and attr (2) of GlobalMetadata, id (1) and name (2) of Node.
_FIRST_TAGS = (0x0A, 0x12, 0x08)

#: Single values an attribute may have: field name -> (number, protobuf type).
ATTRIBUTE_VALUES = {
    "double_val": (3, "DOUBLE"), "float_val": (5, "FLOAT"), "int32_val": (7, "INT32"), "int64_val": (9, "INT64"),
    "uint32_val": (11, "UINT32"), "uint64_val": (13, "UINT64"), "sint32_val": (15, "SINT32"), "sint64_val": (17, "SINT64"),
    "fixed32_val": (19, "FIXED32"), "fixed64_val": (21, "FIXED64"), "sfixed32_val": (23, "SFIXED32"),
    "sfixed64_val": (25, "SFIXED64"), "bool_val": (27, "BOOL"), "string_val": (29, "STRING"),
}  # fmt: skip
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    # name, number, type (or message), repeated
    "BoolList": (("values", 1, "BOOL", True),),
    "AttributeProto": (
        ("name", 1, "STRING", False), *((name, *field, False) for name, field in ATTRIBUTE_VALUES.items()),
        ("bool_list", 28, "BoolList", False),
    ),
    "GlobalMetadata": (("version", 1, "STRING", False), ("attr", 2, "AttributeProto", True)),
    "IOInfo": (("values", 1, "STRING", False), ("shapes", 2, "STRING", False), ("types", 3, "STRING", False)),
    "Node": (
        ("id", 1, "UINT64", False), ("name", 2, "STRING", False), ("type", 3, "INT32", False), ("ctrl_deps", 4, "UINT64", True),
        ("data_deps", 5, "UINT64", True), ("start_time_micros", 6, "UINT64", False), ("duration_micros", 7, "UINT64", False),
        ("inputs", 8, "IOInfo", False), ("outputs", 9, "IOInfo", False), ("attr", 10, "AttributeProto", True),
    ),
}  # fmt: skip


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a stream of Chakra messages."""
    try:
        length, place = _varint(head, 0)
    except (IndexError, ValueError):
        return False
    named = name.removesuffix(".gz").endswith(".et")
    plausible = length == 0 or (0 < length <= MAX_MESSAGE_BYTES and place < len(head) and head[place] in _FIRST_TAGS)
    return plausible and (named or b"\0" in head or not head.isascii())


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the graphs of one job, one file per rank."""
    metadata, node_class = message_classes()
    gathered = Gathered(False)
    files = []
    for source in sources:
        source.report.unit = "message"
        file = ChakraFile(source, gathered, options.dimensions)
        files.append(file)
        with source.guard():
            for raw in _messages(source):
                source.report.read += 1
                if source.number == 1 and _parsed(metadata, raw) is not None and raw[:1] != b"\x08":
                    source.skip("global metadata")
                elif (message := _parsed(node_class, raw)) is None:
                    source.skip("a message that is not a node")
                else:
                    file.add(_node(message, source.number))
    finish(files, gathered, options)
    return gathered


@cache
def message_classes() -> tuple[Any, Any]:
    """Return the classes of GlobalMetadata and Node.

    Raises
    ------
    InputError
        If the package protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise InputError(
            Fault("Chakra protobuf", "no package protobuf", "it installed: pip install 'zcube[chakra]' (or protobuf)")
        ) from error
    file = descriptor_pb2.FileDescriptorProto(name="zcube_chakra.proto", package="ChakraProtoMsg", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "AttributeProto":
            message.oneof_decl.add(name="value")
        for field_name, number, kind, repeated in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".ChakraProtoMsg.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind}")
            if field_name in ATTRIBUTE_VALUES or field_name == "bool_list":
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ChakraProtoMsg.{n}")) for n in ("GlobalMetadata", "Node")
    ]
    return found[0], found[1]


def _parsed(kind: Any, raw: bytes) -> Any:
    from google.protobuf.message import DecodeError

    message = kind()
    try:
        message.ParseFromString(raw)
    except (DecodeError, RecursionError, ValueError):
        return None
    return message


def _node(message: Any, number: int) -> Node:
    attributes = {}
    for attribute in message.attr:
        which = attribute.WhichOneof("value")
        if which:
            value = getattr(attribute, which)
            attributes[attribute.name] = list(value.values) if which == "bool_list" else value
    start, duration = node_times(message.start_time_micros, message.duration_micros)
    values = message.inputs.values
    return Node(message.id, message.name, message.type, tuple(message.data_deps), start, duration, attributes, number, values)


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """Return the number that starts at ``place`` and where it ends."""
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        byte = raw[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("a length of more than 10 bytes")


def _messages(source: Source) -> Iterator[bytes]:
    """Yield the messages of a file."""
    chunks = source.chunks()
    rest, place, offset = b"", 0, 0
    while True:
        source.number, source.offset = source.number + 1, offset
        while True:
            try:
                length, start = _varint(rest, place)
                if length > MAX_MESSAGE_BYTES:
                    raise CutShort(f"a message of {length} bytes, more than {MAX_MESSAGE_BYTES}")
                # Metadata may be left empty; no node has nothing, and a file of zeros has nothing else.
                if not length and source.number > 1:
                    raise CutShort("a message of 0 bytes")
                if start + length <= len(rest):
                    break
            except IndexError:
                pass
            except ValueError as error:
                raise CutShort(str(error)) from error
            chunk = next(chunks, b"")
            if not chunk:
                if place < len(rest):
                    raise CutShort("the end of the file inside a message")
                return
            rest, place = rest[place:] + chunk, 0
        yield rest[start : start + length]
        offset += start + length - place
        place = start + length
