"""Settings: read once from the environment, checked, and explained when they are wrong."""

from __future__ import annotations

import os
import re
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from controller.errors import SetupFailed

DEFAULT_DATA_DIR = "controller-data"
DEFAULT_PORT = 8080
DEFAULT_STREAM_PORT = 8081
DEFAULT_HEALTH_PORT = 8082
DEFAULT_RULESET_DAYS = 7
LEAST_SECRET = 32
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that differs between deployments.

    Attributes
    ----------
    database_url : str
        `DATABASE_URL`; empty means SQLite in the data directory.
    redis_url : str
        `REDIS_URL`; empty means the embedded Valkey that `controller up` starts.
    secret_key : str
        `CONTROLLER_SECRET_KEY`, at least 32 characters; signs sessions, tickets and tokens.
        `controller up` makes and keeps one in the data directory.
    host, port, stream_port, health_port : where the processes listen
    public_url : str
        `CONTROLLER_PUBLIC_URL`: how browsers and SDKs reach the service from outside.
    stream_url : str
        `CONTROLLER_STREAM_URL`: the same for the stream process; empty means host and stream port.
    web_workers, web_threads : int
        Processes and threads of the web server.
    trusted_proxies : int
        `CONTROLLER_TRUSTED_PROXIES`: how many proxies of yours stand before web, each adding to
        X-Forwarded-For; the header is ignored where there is none.
    namespace : str
        `CONTROLLER_REDIS_NAMESPACE`: what this deployment's keys in Redis are told apart by; empty
        means a name derived from the secret key.
    ruleset_days : int
        `CONTROLLER_RULESET_DAYS`: how long the worker keeps the bodies of rulesets that were
        replaced.
    """

    data_dir: Path
    database_url: str = ""
    redis_url: str = ""
    secret_key: str = ""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    stream_port: int = DEFAULT_STREAM_PORT
    health_port: int = DEFAULT_HEALTH_PORT
    public_url: str = ""
    stream_url: str = ""
    web_workers: int = 2
    web_threads: int = 16
    trusted_proxies: int = 0
    namespace: str = ""
    ruleset_days: int = DEFAULT_RULESET_DAYS
    log_level: str = "info"

    @property
    def effective_database_url(self) -> str:
        """The database in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'main.db'}"

    @property
    def url(self) -> str:
        """Where people and SDKs find the service."""
        return self.public_url or f"http://{_shown(self.host)}:{self.port}"

    @property
    def stream_address(self) -> str:
        """Where SDKs are sent for the stream."""
        return self.stream_url or f"http://{_shown(self.host)}:{self.stream_port}"

    @property
    def redis_namespace(self) -> str:
        """The part of every key and channel in Redis that is this deployment's alone.

        Every process knows it without asking a store, the stream process too. It follows the
        secret, so that deployments that were given one Redis each have their own, and the secret
        cannot be computed from it. Four characters keep a pin small; one pair of deployments in a
        million has the same, and is told so at start (`wiring.claim_redis`).
        """
        if self.namespace:
            return self.namespace
        named = f"rollout-controller redis namespace 1\n{self.secret_key}"
        digest = sha256(named.encode("utf-8", "surrogateescape")).digest()
        return b32encode(digest)[:4].decode().lower()

    def require_secret(self) -> str:
        """The secret key.

        Raises
        ------
        SetupFailed
            If it is missing or too short to be one.
        """
        if len(self.secret_key) < LEAST_SECRET or len(set(self.secret_key)) < 8:
            raise SetupFailed(
                f"CONTROLLER_SECRET_KEY needs at least {LEAST_SECRET} random characters; make one: "
                '`python -c "import secrets; print(secrets.token_hex(32))"`.'
            )
        return self.secret_key


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `os.environ` (or the mapping given).

    Raises
    ------
    SetupFailed
        Naming the variable that cannot be used, and what it should hold.
    """
    env = os.environ if environment is None else environment
    return Settings(
        data_dir=Path(env.get("CONTROLLER_DATA_DIR", DEFAULT_DATA_DIR)).absolute(),
        database_url=env.get("DATABASE_URL", ""),
        redis_url=env.get("REDIS_URL", ""),
        secret_key=env.get("CONTROLLER_SECRET_KEY", ""),
        host=env.get("CONTROLLER_HOST", "127.0.0.1"),
        port=_port(env, "CONTROLLER_PORT", DEFAULT_PORT),
        stream_port=_port(env, "CONTROLLER_STREAM_PORT", DEFAULT_STREAM_PORT),
        health_port=_port(env, "CONTROLLER_HEALTH_PORT", DEFAULT_HEALTH_PORT),
        public_url=env.get("CONTROLLER_PUBLIC_URL", "").rstrip("/"),
        stream_url=env.get("CONTROLLER_STREAM_URL", "").rstrip("/"),
        web_workers=_whole(env, "CONTROLLER_WEB_WORKERS", 2, least=1, most=64),
        web_threads=_whole(env, "CONTROLLER_WEB_THREADS", 16, least=2, most=256),
        trusted_proxies=_whole(env, "CONTROLLER_TRUSTED_PROXIES", 0, least=0, most=10),
        namespace=_namespace(env.get("CONTROLLER_REDIS_NAMESPACE", "")),
        ruleset_days=_whole(
            env, "CONTROLLER_RULESET_DAYS", DEFAULT_RULESET_DAYS, least=1, most=3650
        ),
        log_level=env.get("CONTROLLER_LOG_LEVEL", "info"),
    )


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    return _whole(env, name, default, least=0, most=65535)


def _whole(env: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    raw = env.get(name, "")
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise SetupFailed(f"{name} must be a whole number in [{least}, {most}], not {raw!r:.40}.")
    return value


def _namespace(given: str) -> str:
    if given and not _NAMESPACE.fullmatch(given):
        raise SetupFailed(
            "CONTROLLER_REDIS_NAMESPACE must be up to 32 letters, digits, '.', '_' and '-', not "
            f"{given!r:.40}."
        )
    return given


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - shown, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
