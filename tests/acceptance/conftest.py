"""One running service for the stories of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import ONE_WORKER, Running, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up") / "data", *ONE_WORKER) as started:
        yield started
