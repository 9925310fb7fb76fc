"""The web application over real SQLite, with a key for every scope, a token for every role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from controller.flow.actors import MACHINE, Role, Scope
from controller.flow.bootstrap import seed_policies
from controller.flow.people import add_operator, create_key, make_token
from controller.service.http.limits import Buckets
from controller.service.http.router import Router
from controller.service.http.runtime import WebRuntime
from controller.service.web.app import create_app
from controller.settings import Settings
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.ingest import SqlIngest
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.storage.sql.unit_of_work import SqlStore
from controller.telemetry import Telemetry

SECRET = "an-obviously-fake-secret-for-tests-0123456789"
PASSWORD = "correct horse battery"
METRIC = {
    "type": "mean",
    "direction": "decrease",
    "outcome": "cost",
    "window_seconds": 60,
    "baseline": {"mean": 1.0, "sd": 1.0},
}
SLOT = {
    "unit": "departure",
    "champion": {"name": "logistic", "version": "1", "payload": {"threshold": 0.25}},
    "oec": {"metric": "cost", "mde": 0.1},
    "observe": 1.0,
}


@dataclass(kw_only=True)
class Web:
    """A served application and everybody who may call it."""

    runtime: WebRuntime
    client: FlaskClient
    router: Router
    database: Database
    keys: dict[Scope, str] = field(default_factory=dict)
    tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def store(self) -> SqlStore:
        return SqlStore(self.database)

    def key(self, *scopes: Scope, project: str = "default", **options: Any) -> str:
        return create_key(self.store, project, "test", scopes, actor=MACHINE, **options)[1]

    def operator(self, name: str, *roles: Role, password: str | None = None) -> str:
        """Adds a person and gives their token."""
        add_operator(self.store, name, roles, actor=MACHINE, password=password)
        return make_token(self.store, name, actor=MACHINE)

    def call(self, method: str, path: str, who: str | None = None, **options: Any) -> Any:
        headers = dict(options.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {who}"
        return self.client.open(path, method=method, headers=headers, **options)

    def define(self, slot: str = "late", **changes: Any) -> None:
        """A metric and a slot."""
        admin = self.keys[Scope.ADMIN]
        answers = [
            self.call("PUT", "/v1/metrics/cost", admin, json=METRIC),
            self.call("PUT", f"/v1/slots/{slot}", admin, json={**SLOT, **changes}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200], answers[-1].json


@contextmanager
def serving(folder: Path, *, limited: bool = True, **settings: Any) -> Iterator[Web]:
    """The application in this process; not `limited`, it serves any number of requests."""
    database = Database(f"sqlite:///{folder / 'main.db'}")
    Base.metadata.create_all(database.main)
    InboxBase.metadata.create_all(database.inbox)
    store = SqlStore(database)
    seed_policies(store)
    runtime = WebRuntime(
        settings=Settings(
            **{"data_dir": folder, "secret_key": SECRET, "web_workers": 1, **settings}
        ),
        store=store,
        inbox=SqlInbox(database),
        ingest=SqlIngest(database),
        pins=MemoryPins(),
        notes=None,
        telemetry=Telemetry(),
        ready=lambda: None,
    )
    if not limited:
        vars(runtime)["buckets"] = Buckets(share=1e9)
    app = create_app(runtime)
    web = Web(
        runtime=runtime,
        client=app.test_client(use_cookies=True),
        router=app.extensions["controller.router"],
        database=database,
    )
    web.keys = {scope: web.key(scope) for scope in Scope}
    web.tokens = {role: web.operator(f"the-{role.value}".replace("_", "-"), role) for role in Role}
    try:
        yield web
    finally:
        runtime.close()
        database.dispose()
