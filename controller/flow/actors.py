"""Who is asking: a person, a key or the service itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller.errors import NotPermitted


class Role(StrEnum):
    """What a person may do; roles add up."""

    VIEWER = "viewer"
    AUTHOR = "author"
    OPERATOR = "operator"
    APPROVER = "approver"
    POLICY_ADMIN = "policy_admin"
    AUDITOR = "auditor"
    ADMIN = "admin"


RECORDERS: Final = (Role.OPERATOR, Role.AUTHOR, Role.ADMIN)
"""Who may, as a person, do what applications do with a key: ask for arms, record what happened."""


class Scope(StrEnum):
    """What a key may do."""

    RULESET = "ruleset"
    EVALUATE = "evaluate"
    INGEST = "ingest"
    READ = "read"
    STOP = "stop"
    ADMIN = "admin"


class Bundle(StrEnum):
    """A name by which a key is asked for with everything its holder needs."""

    SDK = "sdk"
    CLIENT = "client"


BUNDLES: Final[Mapping[Bundle, frozenset[Scope]]] = {
    Bundle.SDK: frozenset({Scope.RULESET, Scope.EVALUATE, Scope.INGEST}),
    Bundle.CLIENT: frozenset({Scope.EVALUATE}),
}
"""What each stands for. A client's key lies in browsers and on phones, so whoever looks has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The authenticated caller of a use case.

    Attributes
    ----------
    name : str
        Operator name, `key:KEYID`, or `controller` for the service itself.
    kind : str
        `operator`, `key` or `machine`.
    channel, method : str
        How the call came (`console`, `api`, `cli`) and how it was authenticated
        (`session`, `token`, `key`): recorded with every vote.
    """

    name: str
    kind: str
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[Scope] = frozenset()
    channel: str = "api"
    method: str = "token"

    @property
    def is_person(self) -> bool:
        """Only people vote."""
        return self.kind == "operator"

    def may(self, role: Role) -> bool:
        """Whether the actor holds `role`; a key's admin scope stands for every role but a vote."""
        if self.kind == "machine":
            return True
        if self.kind == "key":
            return Scope.ADMIN in self.scopes and role is not Role.APPROVER
        return role in self.roles

    def require(self, *roles: Role) -> None:
        """Refuse unless the actor holds one of `roles`.

        Raises
        ------
        NotPermitted
            Naming the roles that would do.
        """
        if not any(self.may(role) for role in roles):
            wanted = " or ".join(role.value for role in roles)
            raise NotPermitted(f"{self.name} needs the role {wanted} for this.", roles=wanted)


MACHINE = Actor(name="controller", kind="machine", channel="worker", method="internal")
