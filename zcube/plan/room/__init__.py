"""A fabric in its machine room: racks, power, trays, labels and the order for cables."""

from pathlib import Path

#: A room file to start from, every key explained.
TEMPLATE = Path(__file__).with_name("room.toml")
