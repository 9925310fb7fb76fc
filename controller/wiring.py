"""The one file that knows every concrete class: one builder per process, imports inside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.errors import SetupFailed, Unavailable
from controller.settings import Settings

log = logging.getLogger(__name__)

OLDEST_REDIS = 7

if TYPE_CHECKING:
    from controller.flow.bootstrap import Credentials
    from controller.flow.ports.rollouts import PublishedRuleset
    from controller.storage.redis.claim import RedisClaim
    from controller.storage.redis.keys import RedisKeys
    from controller.storage.redis.notes import RedisNotes
    from controller.storage.redis.pins import RedisPins
    from controller.storage.sql.database import Database
    from controller.storage.sql.inbox import SqlInbox
    from controller.storage.sql.ingest import SqlIngest
    from controller.storage.sql.unit_of_work import SqlStore
    from controller.traffic.published_ruleset import PublishedRulesetTraffic


def database(settings: Settings) -> Database:
    """The database, reachable.

    Raises
    ------
    SetupFailed
        If it cannot be opened, saying what to do.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import DatabaseError

    from controller.storage.sql.database import Database

    url = settings.effective_database_url
    opened = Database(url)
    shown = make_url(opened.url).render_as_string(hide_password=True)
    try:
        with opened.main.connect() as connection:
            connection.exec_driver_sql("select 1")
        if opened.is_sqlite:
            with opened.main.connect() as connection:
                connection.exec_driver_sql("select count(*) from sqlite_master")
            with opened.inbox.connect() as connection:
                connection.exec_driver_sql("select count(*) from sqlite_master")
    except DatabaseError as problem:
        opened.dispose()
        raise SetupFailed(_database_advice(shown, opened.is_sqlite, str(problem.orig))) from problem
    return opened


def _database_advice(shown: str, is_sqlite: bool, why: str) -> str:
    why = " ".join(why.split())[:200]
    if is_sqlite and ("malformed" in why or "not a database" in why):
        return (
            f"The database file {shown} is damaged ({why}). Nothing was changed. Move "
            "the data directory aside and run `controller restore` with your newest backup."
        )
    if is_sqlite:
        return f"The database file {shown} cannot be opened ({why}): check that it can be written."
    return (
        f"PostgreSQL at {shown} does not answer ({why}): check DATABASE_URL, "
        "that the server runs, and that the user may connect."
    )


def check_redis(settings: Settings) -> None:
    """Ask Redis for an answer once.

    Raises
    ------
    SetupFailed
        If it does not answer or is too old.
    """
    from controller.storage.redis.connection import NO_ANSWER, connect

    try:
        with connect(settings.redis_url, connect_seconds=2.0, answer_seconds=2.0) as client:
            version = str(client.info("server")["redis_version"])
    except ValueError as problem:
        raise SetupFailed(f"REDIS_URL is no address ({problem}).") from problem
    except NO_ANSWER as problem:
        raise SetupFailed(
            f"Redis does not answer ({problem}): check REDIS_URL and that the server runs, or "
            "leave it empty to use the embedded Valkey."
        ) from problem
    if int(version.partition(".")[0]) < OLDEST_REDIS:
        raise SetupFailed(f"Redis {version} is too old: use Redis 7, Valkey 7.2 or newer.")


def claim_redis(settings: Settings, *, own: bool = False) -> None:
    """See that the keys in Redis are this deployment's alone.

    Parameters
    ----------
    own : bool
        The store is part of this deployment (the embedded Valkey): whatever it says is taken over.

    Raises
    ------
    SetupFailed
        If another deployment uses the same Redis under the same name. A store that does not answer
        now is no hindrance: the worker asks again every second.
    """
    from controller.storage.redis.claim import RedisClaim
    from controller.storage.redis.connection import connect

    deployment = _deployment(settings)
    if deployment is None:
        return
    client = connect(settings.redis_url, connect_seconds=2.0, answer_seconds=2.0)
    claim = RedisClaim(client, namespace=settings.redis_namespace)
    try:
        if own:
            claim.take_over(deployment)
        holder = claim.holder(deployment)
    except Unavailable as problem:
        log.warning("redis_not_asked", extra={"why": problem.message})
        return
    finally:
        client.close()
    if holder != deployment:
        raise SetupFailed(
            f"This deployment ({deployment}) and another ({holder}) use one Redis with the same "
            "CONTROLLER_SECRET_KEY, and would overwrite each other's rulesets and pins. Give this "
            "one a secret of its own, or another Redis, or a CONTROLLER_REDIS_NAMESPACE. If the "
            f"other is gone for good, delete its key first: redis-cli DEL {claim.key}"
        )


def _deployment(settings: Settings) -> str | None:
    """The deployment's id; None where the database does not answer, or is not migrated yet."""
    from controller.storage.sql.database import Database
    from controller.storage.sql.unit_of_work import SqlStore

    opened = Database(settings.effective_database_url)
    try:
        if _readiness(opened)() is not None:
            return None
        with SqlStore(opened).reading() as work:
            return work.deployments.known()
    finally:
        opened.dispose()


def migrate(settings: Settings) -> None:
    """Bring the schema up to date, then seed what every deployment has."""
    from controller.flow.bootstrap import seed_policies
    from controller.storage.sql.migrate import upgrade
    from controller.storage.sql.unit_of_work import SqlStore

    opened = database(settings)
    try:
        upgrade(opened)
        seed_policies(SqlStore(opened))
    finally:
        opened.dispose()


def follow_restore(settings: Settings) -> None:
    """Bring restored files up to date and publish every project's ruleset anew.

    SDKs have seen versions newer than the backup and refuse what is older: only a higher one makes
    them follow the restored state.
    """
    from controller.flow.restored import publish_restored
    from controller.storage.sql.unit_of_work import SqlStore

    migrate(settings)
    opened = database(settings)
    try:
        with SqlStore(opened).writing() as work:
            for project in work.rulesets.projects():
                work.take_turn(project)
                publish_restored(work, project)
    finally:
        opened.dispose()


def prepare(settings: Settings, *, own_redis: bool) -> Credentials:
    """Everything `controller up` needs before its children start.

    Parameters
    ----------
    own_redis : bool
        Whether Redis is the embedded Valkey, which nobody else can reach.
    """
    from controller.flow.bootstrap import first_credentials
    from controller.storage.sql.unit_of_work import SqlStore

    check_redis(settings)
    migrate(settings)
    claim_redis(settings, own=own_redis)
    opened = database(settings)
    try:
        path = settings.data_dir / "credentials.json"
        shared = bool(settings.database_url)
        return first_credentials(SqlStore(opened), path, url=settings.url, shared=shared)
    finally:
        opened.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The concrete parts that a process is made of; each is made after the fork.

    Attributes
    ----------
    ready : callable
        Why the database cannot serve this version (unreachable, not migrated), or None.
    close : callable
        Gives every connection back.
    """

    store: SqlStore
    inbox: SqlInbox
    ingest: SqlIngest
    pins: RedisPins
    notes: RedisNotes
    claim: RedisClaim
    checked: RedisKeys
    senders: Mapping[str, PublishedRulesetTraffic]
    ready: Callable[[], str | None]
    close: Callable[[], None]


def parts(settings: Settings, *, patience_seconds: float | None = None) -> Parts:
    """Stores over the database, pins and notes over Redis; nothing is connected yet.

    Parameters
    ----------
    patience_seconds : float or None
        How long one command may take in Redis; None means as briefly as an assignment may wait.
    """
    from controller.flow.publish import RULESET_MESSAGE
    from controller.storage.redis.claim import RedisClaim
    from controller.storage.redis.connection import ANSWER_SECONDS, connect
    from controller.storage.redis.keys import RedisKeys
    from controller.storage.redis.notes import RedisNotes, RulesetCopy
    from controller.storage.redis.pins import RedisPins
    from controller.storage.sql.database import Database
    from controller.storage.sql.inbox import SqlInbox
    from controller.storage.sql.ingest import SqlIngest
    from controller.storage.sql.unit_of_work import SqlStore
    from controller.traffic.published_ruleset import PublishedRulesetTraffic, at_once

    opened = Database(settings.effective_database_url)
    client = (
        connect(settings.redis_url)
        if patience_seconds is None
        else connect(
            settings.redis_url, connect_seconds=patience_seconds, answer_seconds=patience_seconds
        )
    )
    namespace = settings.redis_namespace
    notes = RedisNotes(client, namespace=namespace)

    def announce(newest: PublishedRuleset) -> None:
        notes.publish(
            newest.project,
            RulesetCopy(version=newest.version, etag=newest.sha256, body=newest.body),
        )

    store = SqlStore(opened, at_once(announce))

    return Parts(
        store=store,
        inbox=SqlInbox(opened),
        ingest=SqlIngest(opened),
        pins=RedisPins(
            client,
            namespace=namespace,
            budget_seconds=ANSWER_SECONDS if patience_seconds is None else None,
        ),
        notes=notes,
        claim=RedisClaim(client, namespace=namespace),
        checked=RedisKeys(client, namespace=namespace),
        senders={RULESET_MESSAGE: PublishedRulesetTraffic(store, announce)},
        ready=_readiness(opened),
        close=opened.dispose,
    )


def _readiness(opened: Database) -> Callable[[], str | None]:
    """A question for probes: why the database cannot serve this version, or None."""
    from sqlalchemy.exc import SQLAlchemyError

    from controller.storage.sql.migrate import missing

    def ask() -> str | None:
        try:
            return missing(opened)
        except (SQLAlchemyError, OSError) as problem:
            return f"The database does not answer: {' '.join(str(problem).split())[:200]}"

    return ask
