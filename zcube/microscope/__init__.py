"""The worst moments of a run, rebuilt packet by packet: which they are, what was under way in them, what packets add."""
