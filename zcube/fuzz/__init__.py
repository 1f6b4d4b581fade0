"""Inputs by a hostile hand: sound files of every kind, changed in many ways, and their readers under limits."""
