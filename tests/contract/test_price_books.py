"""Price books: rates and prices are checked, every fault is named with its place."""

from __future__ import annotations

import json

import pytest

from zcube.errors import InputError
from zcube.pricing.price_book import load_price_book, price_book_names

HEAD = 'source = "made by hand"\n'


def book(folder, text):
    (folder / "mine.toml").write_text(HEAD + text)
    return load_price_book(str(folder / "mine.toml"))


@pytest.mark.parametrize("name", price_book_names())
def test_bundled_books_are_sound(name):
    assert load_price_book(name).name == name


def test_keys_are_whole_rates_however_they_are_written(tmp_path):
    read = book(tmp_path, '[transceiver_usd]\n0400 = 659\n"800" = 1399.5\n[nic_usd]\n400 = 0\n')
    assert read.transceiver_usd == {400: 659.0, 800: 1399.5}
    assert (read.nic_usd, read.switch_port_usd) == ({400: 0.0}, {})


BAD = {
    "a rate twice": ("400 = 659\n0400 = 700", ["transceiver_usd.0400", "a second price of 400 Gb/s", "each rate once"]),
    "quoted and bare": ('"00400" = 1\n400 = 2', ["transceiver_usd.400", "each rate once"]),
    "zero": ("0 = 5", ["transceiver_usd.0", "above 0"]),
    "zeros": ("00 = 5", ["transceiver_usd.00", "above 0"]),
    "a negative rate": ("-400 = 5", ["transceiver_usd.-400", "above 0"]),
    "a float": ('"400.0" = 5', ["transceiver_usd.400.0", "whole number of Gb/s"]),
    "a bare float": ("400.0 = 5", ["transceiver_usd.400", "400.0", "whole number of Gb/s"]),
    "a unit": ('"400G" = 5', ["transceiver_usd.400G", "e.g. 400 = 659"]),
    "a power": ('"4e2" = 5', ["transceiver_usd.4e2", "whole number"]),
    "underscores": ('"4_00" = 5', ["transceiver_usd.4_00", "whole number"]),
    "blanks": ('" 400" = 5', ["whole number"]),
    "other digits": ('"４００" = 5', ["whole number"]),
    "a terabit": ('"99999999" = 5', ["whole number"]),
    "a long key": (f'"{"4" * 3000}" = 5', ["whole number"]),
    "a negative price": ("400 = -1", ["transceiver_usd.400", "-1", "from 0"]),
    "no number": ("400 = nan", ["transceiver_usd.400", "nan", "from 0"]),
    "no end": ("400 = inf", ["transceiver_usd.400", "inf", "from 0"]),
    "minus no end": ("400 = -inf", ["transceiver_usd.400", "-inf"]),
    "more than there is": ("400 = 1e300", ["transceiver_usd.400", "1e+09"]),
    "text": ('400 = "659"', ["transceiver_usd.400", "'659'"]),
    "truth": ("400 = true", ["transceiver_usd.400", "True"]),
    "a list": ("400 = [659]", ["transceiver_usd.400", "[659]"]),
    "too many": ("\n".join(f"{rate} = 1" for rate in range(1, 66)), ["transceiver_usd", "65 rates", "at most 64"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("table", ["transceiver_usd", "switch_port_usd", "nic_usd"])
def test_what_is_wrong_is_named(tmp_path, table, case):
    text, words = BAD[case]
    with pytest.raises(InputError) as caught:
        book(tmp_path, f"[{table}]\n{text}\n")
    message = str(caught.value)
    assert "mine.toml" in message and len(message) < 2_000
    for word in words:
        assert word.replace("transceiver_usd", table) in message


def test_every_fault_at_once(tmp_path):
    text = '[transceiver_usd]\n400 = -1\n"1G" = 3\n[switch_port_usd]\n0 = 1\n[nic_usd]\n400 = nan\n0400 = 1\n[optics]\nx = 1\n'
    with pytest.raises(InputError) as caught:
        book(tmp_path, text)
    assert len(caught.value.faults) == 5
    (tmp_path / "mine.toml").write_text("transceiver_usd = 3\n")
    with pytest.raises(InputError) as caught:
        load_price_book(str(tmp_path / "mine.toml"))
    assert len(caught.value.faults) == 2


def test_a_hole_prints_as_null_and_as_unknown(run, tmp_path):
    (tmp_path / "mine.toml").write_text(HEAD + "[transceiver_usd]\n400 = 659\n[switch_port_usd]\n400 = 1090\n")
    status, out, _ = run("cost", "roft-256", "--price-book", tmp_path / "mine.toml", "--json")
    bill = json.loads(out)["fabrics"]["roft-256"]
    # 12 switches of 64 x 1,090; 12 x 64 modules.
    assert (status, bill["total_usd"]) == (0, 837_120 + 506_112)
    assert bill["with_nics"] == {"nics": 256, "nic_usd": None, "total_usd": None}
    text = run("cost", "roft-256", "--price-book", tmp_path / "mine.toml")[1]
    assert "lacks a price that roft-256 needs" in text
    row = next(line for line in text.splitlines() if line.startswith("NICs"))
    assert row.split() == ["NICs", "USD", "-"]
