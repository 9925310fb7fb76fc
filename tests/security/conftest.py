"""The application in this process, once for each file: these tests only knock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.knocking import NOW
from tests.web import Web, serving


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), limited=False) as served:
        served.define()
        yield served


@pytest.fixture
def fixed_clock(web: Web) -> None:
    """The clock of the service stands just after the event that these tests send."""
    object.__setattr__(web.runtime, "clock", lambda: NOW)
