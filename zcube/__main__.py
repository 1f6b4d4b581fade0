"""``python -m zcube``."""

from zcube.cli import main

main()
