"""One decode step of an eight-GPU node at batch 1: TileRT's node and the conventional engine beside it.

``figures`` holds the node's parameters (``*.toml`` beside it), ``work`` the bytes and operations of each part, ``pipeline``
the order in which a layer's parts run, ``timeline`` who waits for whom, ``step`` the times and the effect of each idea,
``schedule`` the same step as a communication trace, ``published`` the speeds they are compared with.
"""
