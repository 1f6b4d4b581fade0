"""How a fabric that stands becomes a larger one: what is renamed, which plug goes where and in which order, what is bought."""
