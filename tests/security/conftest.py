"""The application in this process, once for each file: these tests only knock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web import Web, serving


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), limited=False) as served:
        served.define()
        yield served
