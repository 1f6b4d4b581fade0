"""Node files: the bundled one is valid, a user's file is checked as a whole."""

from pathlib import Path

import pytest

from zcube.errors import InputError
from zcube.llm.decode_node import figures
from zcube.llm.decode_node.figures import load_node, node_names

BUNDLED = Path(figures.__file__).with_name("tilert-b200.toml")


def test_bundled_nodes_load():
    assert node_names() == ["tilert-b200"]
    assert load_node("tilert-b200").device.name == "b200"


def test_a_users_file_is_read(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(BUNDLED.read_text().replace('device = "b200"', 'device = "h200"'))
    assert load_node(str(mine)).device.peak.nvlink_gbytes_per_s == 450


def test_every_fault_is_named(tmp_path):
    mine = tmp_path / "mine.toml"
    text = BUNDLED.read_text().replace("memory_share = 0.647", "memory_share = 1.5\ncolour = 3")
    mine.write_text(text.replace("kernel_us = 3", "").replace("logits = 2", "logits = -2"))
    with pytest.raises(InputError) as error:
        load_node(str(mine))
    named = {fault.where.split(": ")[1] for fault in error.value.faults}
    assert named == {"memory_share", "colour", "kernel_us", "kernels.logits"}


@pytest.mark.parametrize("text", ["", 'device = "no-such-gpu"', "device = 3", "device = ["])
def test_files_that_are_no_node(tmp_path, text):
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    with pytest.raises(InputError):
        load_node(str(mine))


def test_unknown_name():
    with pytest.raises(InputError, match="tilert-b200"):
        load_node("no-such-node")
