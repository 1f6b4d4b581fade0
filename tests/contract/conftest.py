"""Importing recordings that a test holds as text."""

import pytest

from zcube.trace.importers.catalog import import_trace


@pytest.fixture
def load(tmp_path):
    """Import contents, given one by one, in a list or by file name; text or bytes."""

    def load(*contents, name="t.{}.json", **options):
        if len(contents) == 1 and not isinstance(contents[0], str | bytes):
            contents = contents[0]
        files = contents if isinstance(contents, dict) else {name.format(place): text for place, text in enumerate(contents)}
        paths = [tmp_path / file for file in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_trace(paths, **options)

    return load
