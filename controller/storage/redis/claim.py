"""Whose a namespace in Redis is: two deployments that share one by accident are told so."""

from __future__ import annotations

from typing import cast

from controller.errors import Unavailable
from controller.storage.redis.connection import NO_ANSWER, Client


class RedisClaim:
    """The one key that names the deployment to which a namespace belongs.

    Parameters
    ----------
    namespace : str
        The deployment's own (`Settings.redis_namespace`).
    """

    def __init__(self, client: Client, *, namespace: str) -> None:
        self._client = client
        self.key = f"deployment:{namespace}"

    def holder(self, deployment: str) -> str:
        """The deployment that has the namespace: the given one where nobody had it.

        Raises
        ------
        Unavailable
            If the store does not answer.
        """
        try:
            before = self._client.set(self.key, deployment, nx=True, get=True)
        except NO_ANSWER as error:
            raise Unavailable(f"Redis does not say whose it is: {error}.") from error
        found = cast("bytes | None", before)
        return deployment if found is None else found.decode("utf-8", "replace")

    def take_over(self, deployment: str) -> None:
        """Give the namespace to this deployment, whoever had it: the store is its own.

        Raises
        ------
        Unavailable
            If the store does not answer.
        """
        try:
            self._client.set(self.key, deployment)
        except NO_ANSWER as error:
            raise Unavailable(f"Redis was not taken over: {error}.") from error
