"""Values, numbers and pieces of text that readers are known to trip over."""

from __future__ import annotations

#: Stand for text that no value gives when it is written: nesting, numbers of any length, a list of many.
RAW = {
    "@deep@": "[" * 3000 + "]" * 3000,
    "@open@": "[" * 3000,
    "@digits@": "9" * 5000,
    "@hex@": "0x" + "f" * 4000,
    "@nan@": "nan",
    "@NaN@": "NaN",
    "@inf@": "-Infinity",
    "@huge@": "1e999",
    "@minus@": "-0",
    "@many@": "[" + "0, " * 50_000 + "0]",
    "@half@": '"\\ud800"',
    "@null@": "null",
}
TEXTS = (
    "",
    " ",
    "x" * 300,
    "x" * 70_000,
    "0",
    "-1",
    "1e400",
    "nan",
    "\x1b[31m",
    "\u202e",
    "\u0664\u0660",
    "100_000",
    "+400",
    "<script>alert(1)</script>",
    "\"&<>'",
    "a,b;c\nd",
    "../../..",
    "/dev/zero",
    "/dev/null",
    ".",
    "{0}",
    "%s%n",
    "=1+1",
    "s0g0",
    "\N{COMBINING ACUTE ACCENT}",
)
NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 8, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**12, 10**30),
    *(-(10**18), 0.5, -0.0, 1e-300, 5e-324, 1e15, 1e18, 1e300, 1.7e308, 0.1, 1.0000000000000002),
)
VALUES: tuple[object, ...] = (None, True, False, [], {}, [[]], [None], {"": 1}, *NUMBERS, *TEXTS, *RAW)

#: A number in a text as it is written, decimal or hexadecimal.
NUMBER_TEXTS = (
    *("0", "-1", "1", "2", "9" * 20, "9" * 400, "9" * 5000, "1e400", "1e-400", "-0.0", "nan", "inf", "1e18", "0x10", "1_000"),
    *(
        "+5",
        "\u0664",
        "",
        ".",
        "1.5",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "1000000",
        "100000000",
        "1e9",
    ),
)
PIECES = (
    *(
        b"\0",
        b"\xff",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"<",
        b"&",
        b"\\",
    ),
    *(
        b"\\ud800",
        b"\xed\xa0\x80",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"#",
        b"=",
        b":",
        b";",
        b"\t",
        b"\x85",
        b"\xe2\x80\xa8",
        b"\x0c",
    ),
    *(b"\x1f\x8b", b"PAR1"),
)
#: In front of XML: entities that grow, that read files, and an encoding that nobody knows.
PROLOGUES = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "' + b"b" * 1000 + b'">'
    + b"".join(b'<!ENTITY %c "%s">' % (99 + n, b"&%c;" % (98 + n) * 20) for n in range(8)) + b"]>",
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///dev/zero">]>',
    b'<?xml version="1.0" encoding="utf-7"?>',
    b'<?xml version="1.0" encoding="utf-16"?>',
)  # fmt: skip
