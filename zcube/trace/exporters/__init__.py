"""Writing traces as files of other simulators, one module a format."""
