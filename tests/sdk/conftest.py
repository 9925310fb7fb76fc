"""A service and clients that are always closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Ruleset
from controller.sdk import Client
from tests.sdk.service import KEY, Service
from tests.unit.assignment.rulesets import rollout, ruleset, slot

MakeClient = Callable[..., Client]


@pytest.fixture
def live() -> Ruleset:
    """A slot with everybody enrolled, and one at rest that observes everybody."""
    return ruleset(
        slot(rollout(enrolled_ppm=PPM)),
        slot(slot="quiet", observe=None),
    )


@pytest.fixture
def service(live: Ruleset) -> Iterator[Service]:
    with Service(live) as running:
        yield running


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[MakeClient]:
    with ExitStack() as stack:

        def make(service: Service | None = None, **options: Any) -> Client:
            options.setdefault("state_dir", tmp_path / "state")
            options.setdefault("poll_seconds", 0.2)
            options.setdefault("flush_seconds", 0.05)
            options.setdefault("timeout_seconds", 1.0)
            if service is not None:
                options = {"url": service.url, "key": KEY, **options}
            client = Client(**options)
            stack.callback(client.close, 0.5)
            return client

        yield make
