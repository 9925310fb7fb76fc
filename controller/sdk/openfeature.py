"""An OpenFeature provider with local evaluation (extra ``[openfeature]``).

::

    from openfeature import api
    from controller.sdk import Client
    from controller.sdk.openfeature import ControllerProvider

    api.set_provider(ControllerProvider(Client.from_env()))

The flag key is the slot, the targeting key the unit, the variant the arm and the value the model's
payload. An evaluation exposes the unit unless the context says ``expose: False``. Without a
targeting key a slot answers where all units have one answer (killed, or at rest), exposing nobody;
a slot that splits its units refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.flag_evaluation import Reason as FlagReason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from controller.assignment.choice import Choice, Reason
from controller.sdk.core import Core

T = TypeVar("T")

READY_SECONDS: Final = 2.0
EXPOSE: Final = "expose"
NOBODY: Final = "-"  # asks where every unit has the same answer
FOR_ALL: Final = frozenset(
    {
        Reason.KILLED,
        Reason.NO_ROLLOUT,
        Reason.STALE,
        Reason.NO_RULESET,
        Reason.UNKNOWN_SLOT,
        Reason.ERROR,
    }
)
"""Reasons of answers that no unit is needed for, as OFREP here gives them."""
REASONS: Final[Mapping[Reason, FlagReason]] = {
    Reason.SPLIT: FlagReason.SPLIT,
    Reason.PINNED: FlagReason.SPLIT,
    Reason.PIN_UNKNOWN: FlagReason.SPLIT,
    Reason.OVERRIDE: FlagReason.TARGETING_MATCH,
    Reason.KILLED: FlagReason.DISABLED,
    Reason.NO_ROLLOUT: FlagReason.STATIC,
    Reason.STALE: FlagReason.STALE,
    Reason.ERROR: FlagReason.UNKNOWN,
}
_ERRORS: Final[Mapping[Reason, tuple[ErrorCode, str]]] = {
    Reason.UNKNOWN_SLOT: (ErrorCode.FLAG_NOT_FOUND, "there is no such slot"),
    Reason.INVALID_UNIT: (ErrorCode.INVALID_CONTEXT, "the targeting key is not a valid unit id"),
    Reason.NO_RULESET: (ErrorCode.PROVIDER_NOT_READY, "there is no ruleset yet"),
}


class ControllerProvider(AbstractProvider):
    """Evaluates flags with a client of this service.

    Parameters
    ----------
    client : Client or AsyncClient
        Stays the application's: `shutdown` does not close it.
    """

    def __init__(self, client: Core, *, ready_seconds: float = READY_SECONDS) -> None:
        super().__init__()
        self._client = client
        self._ready_seconds = ready_seconds

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="rollout-controller")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Give the first ruleset a moment to arrive."""
        self._client.prepare(self._ready_seconds)

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Report an outcome of the targeting key.

        Two attributes of the details are no attributes of the event: `slot` names its slot, and
        `event_id` is your idempotency key, under which it is counted once.
        """
        details = tracking_event_details or TrackingEventDetails()
        attributes: dict[str, Any] = dict(details.attributes)
        slot, event_id = attributes.pop("slot", None), attributes.pop("event_id", None)
        self._client.track(
            tracking_event_name,
            unit=evaluation_context.targeting_key if evaluation_context is not None else None,
            value=details.value,
            slot=slot,
            event_id=event_id,
            attributes=attributes,
        )

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """See the OpenFeature specification."""
        return self._resolve(flag_key, default_value, evaluation_context, _is(bool))

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """See the OpenFeature specification."""
        return self._resolve(flag_key, default_value, evaluation_context, _is(str))

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """See the OpenFeature specification."""
        return self._resolve(flag_key, default_value, evaluation_context, _is(int))

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """See the OpenFeature specification; JSON's 1 is a float, too."""

        def is_number(value: object) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool)

        return self._resolve(flag_key, default_value, evaluation_context, is_number, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """See the OpenFeature specification."""
        return self._resolve(flag_key, default_value, evaluation_context, _is(dict, list))

    def _resolve(
        self,
        slot: str,
        default: T,
        context: EvaluationContext | None,
        fits: Callable[[object], bool],
        convert: Callable[[Any], T] = lambda value: value,
    ) -> FlagResolutionDetails[T]:
        """Look first, and expose only what the application really gets."""
        given = {} if context is None else context.attributes
        unit = None if context is None else context.targeting_key
        attributes = {name: value for name, value in given.items() if name != EXPOSE}
        choice = self._client.peek(slot, unit or NOBODY, attributes)
        if not unit and choice.reason not in FOR_ALL:
            return _refused(default, ErrorCode.TARGETING_KEY_MISSING, "the unit is missing")
        if choice.reason in _ERRORS:
            return _refused(default, *_ERRORS[choice.reason])
        if choice.payload is not None and not fits(choice.payload):
            kind = type(choice.payload).__name__
            return _refused(default, ErrorCode.TYPE_MISMATCH, f"the payload is of type {kind}")
        if unit and given.get(EXPOSE) is not False:
            self._client.expose(choice, attributes)
        return FlagResolutionDetails(
            value=default if choice.payload is None else convert(choice.payload),
            variant=choice.arm,
            reason=REASONS.get(choice.reason, FlagReason.DEFAULT),
            flag_metadata=_metadata(choice),
        )


def _is(*kinds: type) -> Callable[[object], bool]:
    """Exactly one of these types: JSON's true is no integer."""
    return lambda value: type(value) in kinds


def _refused(default: T, code: ErrorCode, message: str) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(
        value=default, error_code=code, error_message=message, reason=FlagReason.ERROR
    )


def _metadata(choice: Choice) -> dict[str, bool | int | float | str]:
    facts = {
        "reason": choice.reason.value,
        "ruleset": choice.ruleset,
        "rollout": choice.rollout,
        "allocation": choice.allocation,
        "model": f"{choice.model.name}@{choice.model.version}" if choice.model else None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
