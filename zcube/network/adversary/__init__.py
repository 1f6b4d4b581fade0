"""Where a fabric loses: adversarial permutations, a searched worst case, and funnels shaped like an engine's KV traffic."""
