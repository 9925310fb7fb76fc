import doctest
from pathlib import Path

import pytest

import controller.sdk.client
import controller.sdk.testing
from controller.assignment.choice import Model, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM
from controller.sdk.testing import RecordingAsyncClient, RecordingClient
from tests.loops import run_apart
from tests.unit.assignment.rulesets import rollout, ruleset, slot


def test_every_unit_gets_the_arm_the_test_chose() -> None:
    boosted = Model(name="boost", version="2", payload={"threshold": 0.3})
    client = RecordingClient({"alert": "challenger"}, {"alert": {"challenger": boosted}})
    for number in range(50):
        choice = client.assign("alert", unit=str(number))
        assert (choice.arm, choice.model, choice.reason) == ("challenger", boosted, Reason.SPLIT)
    assert client.assign("elsewhere", unit="1").reason is Reason.UNKNOWN_SLOT
    assert RecordingClient({"alert": "champion"}).assign("alert", unit="1").arm == "champion"


def test_what_is_reported_is_kept_as_it_would_travel() -> None:
    client = RecordingClient({"alert": "challenger"})
    choice = client.assign("alert", unit="1", attributes={"origin": "EWR", "bad": object()})
    client.assign("alert", unit="1")
    client.record(choice, unit="1", ref="a-1", score=0.5)
    client.track("cost", unit="1", value=3, event_id="mine")
    client.track("cost", unit="")
    exposure, prediction, outcome = client.events
    assert exposure["attributes"] == {"origin": "EWR"}
    assert prediction["model"] == "challenger@test"
    assert (outcome["event_id"], outcome["value"]) == ("mine", 3.0)
    assert client.complaints == ["outcome: unit must not be empty."]
    client.clear()
    assert client.events == []


def test_the_rules_of_a_document_decide_where_they_are_given() -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=PPM)))
    client = RecordingClient(ruleset=rules.document())
    choices = [client.assign("alert", unit=str(number)) for number in range(40)]
    assert choices == [evaluate(rules, "alert", str(number)) for number in range(40)]
    assert {choice.arm for choice in choices} == {"champion", "challenger"}
    assert len(client.events) == 40


def test_async_code_has_the_same_client() -> None:
    async def application() -> list[str]:
        async with RecordingAsyncClient({"alert": "challenger"}) as client:
            assert await client.wait_until_ready()
            client.assign("alert", unit="1")
            client.track("cost", unit="1", value=1.0)
            assert await client.flush()
            return [event["type"] for event in client.events]

    assert run_apart(application()) == ["exposure", "outcome"]


def test_no_file_is_written_and_no_thread_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setenv("CONTROLLER_STATE_DIR", str(tmp_path))
    before = threading.active_count()
    with RecordingClient({"alert": "challenger"}) as client:
        client.assign("alert", unit="1")
        assert client.flush()
        assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [controller.sdk.testing, controller.sdk.client])
def test_the_documented_examples(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0
