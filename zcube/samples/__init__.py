"""Small inputs of every kind, made from a seed, that the documentation's commands name."""
