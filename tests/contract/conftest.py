"""Importing recordings that a test holds as text, and the installed package of measured tables."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from zcube.llm.tables.source import open_source
from zcube.trace.importers.catalog import import_trace


@pytest.fixture(scope="module")
def package():
    """The installed package's tables; a test that takes them is skipped where it is not installed."""
    try:
        version("aiconfigurator-core")
    except PackageNotFoundError:
        pytest.skip("aiconfigurator-core is not installed; pip install 'zcube[measured]'")
    return open_source(None)


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
