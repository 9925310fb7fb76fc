"""A ruleset that may not be believed is refused, and the last good one goes on answering."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset, digest
from controller.assignment.signature import sign_ruleset, split_key
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Handler, Service, sign, wait_for


def lie(body: bytes, etag: str | None = None, signature: str = "") -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        if handler.path != "/v1/ruleset":
            return False
        handler.answer_ruleset(body, etag or digest(body), signature)
        return True

    return answer


def honest(ruleset: Ruleset, key: str = KEY) -> Callable[[Handler], bool]:
    return lie(ruleset.encode(), signature=sign(ruleset, key))


def lies(live: Ruleset) -> dict[str, Callable[[Handler], bool]]:
    newer = replace(live, version=8)
    body = newer.encode()
    emptied = {**newer.document(), "slots": {}}
    empty_body = json.dumps(emptied).encode()
    signing, etag = split_key(KEY)[2], digest(empty_body)
    empty_signature = sign_ruleset(signing, deployment="d-1", version=8, digest=etag)
    return {
        "older": honest(replace(live, version=6)),
        "foreign deployment": honest(replace(newer, deployment="d-2")),
        "foreign project": honest(replace(newer, project="other")),
        "another key": honest(newer, "rc_test02_zzzzzzzzzzzzzzzzzzzzzzzz"),
        "unsigned": lie(body),
        "signature of another version": lie(body, signature=sign(live)),
        "flipped bit": lie(body[:-5] + b"x" + body[-4:], etag=digest(body), signature=sign(newer)),
        "truncated": lie(body[:-1], etag=digest(body), signature=sign(newer)),
        "implausibly empty": lie(empty_body, signature=empty_signature),
        "newer schema": lie(body.replace(b'"schema":1,', b'"schema":2,'), signature=sign(newer)),
        "not json": lie(b"%PDF-1.4"),
        "nothing": lie(b""),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["older", "foreign deployment", "foreign project", "another key", "unsigned",
     "signature of another version", "flipped bit", "truncated", "implausibly empty",
     "newer schema", "not json", "nothing"],
)  # fmt: skip
def test_a_ruleset_that_may_not_be_believed_is_refused(
    name: str, service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.fault = lies(live)[name]
    assert wait_for(lambda: client.states().get("refresh") == "refused"), name
    assert client.counts()["rulesets_refused"] >= 1
    assert client.ruleset_version == 7
    assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
    service.fault = honest(replace(live, version=9))
    assert wait_for(lambda: client.ruleset_version == 9)


def test_an_explicit_empty_is_honoured(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.publish(replace(live, version=8, slots={}))
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.UNKNOWN_SLOT)


def test_a_rule_of_the_future_answers_champion_and_is_counted(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    document = replace(live, version=8).document()
    document["slots"]["alert"]["rollout"]["algo"] = 3
    body = json.dumps(document).encode()
    signature = sign(live)

    class AsSent(Ruleset):
        """Signed as it was sent, unknown rule included."""

        def encode(self) -> bytes:
            return body

    made = AsSent(project="default", deployment="d-1", version=8, slots={})
    signature = sign(made)
    service.fault = lie(body, signature=signature)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    choice = client.assign("alert", unit="1")
    assert (choice.arm, choice.reason, choice.ruleset) == ("champion", Reason.ERROR, 8)
    assert client.counts()["rules_unreadable"] == 1
    assert client.assign("quiet", unit="1").reason is Reason.NO_ROLLOUT
