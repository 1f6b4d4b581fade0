"""Transfers and traces carried over one fabric: when each ended, what bounded it, and what every link carried."""
