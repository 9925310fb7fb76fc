from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.audit.chain import GENESIS, Entry, make_entry, verify

START = datetime(2026, 1, 1, tzinfo=UTC)


def chain(count: int) -> list[Entry]:
    entries, previous = [], GENESIS
    for seq in range(1, count + 1):
        entry = make_entry(
            seq=seq,
            previous=previous,
            project="default",
            at=START + timedelta(seconds=seq),
            actor="ana",
            action="slot_put",
            object=f"slot/{seq}",
            details={"n": seq, "note": "größer"},
        )
        entries.append(entry)
        previous = entry.hash
    return entries


def test_a_whole_chain_verifies_and_names_its_head() -> None:
    entries = chain(5)
    result = verify(entries)
    assert result.intact
    assert result.entries == 5
    assert result.head == entries[-1].hash


def test_an_empty_chain_is_intact() -> None:
    assert verify([]).head == GENESIS


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "eve"},
        {"action": "kill"},
        {"object": "slot/9"},
        {"at": START},
        {"record": "{}"},
        {"previous": "f" * 64},
        {"hash": "f" * 64},
        {"seq": 9},
    ],
)
def test_a_changed_entry_is_found(change: dict[str, Any]) -> None:
    entries = chain(5)
    entries[2] = replace(entries[2], **change)
    assert verify(entries).broken_at == 3


@given(st.integers(0, 5), st.integers(0, 5))
def test_reordering_is_found(first: int, second: int) -> None:
    entries = chain(6)
    entries[first], entries[second] = entries[second], entries[first]
    assert verify(entries).intact == (first == second)


@given(st.integers(0, 4))
def test_a_removed_entry_is_found(gone: int) -> None:
    entries = chain(6)
    del entries[gone]
    assert verify(entries).broken_at == gone + 1


def test_a_rewritten_history_has_another_head() -> None:
    entries = chain(3)
    rewritten = chain(3)[:2]
    last = make_entry(
        seq=3,
        previous=rewritten[-1].hash,
        project="default",
        at=START,
        actor="eve",
        action="slot_put",
        object="slot/3",
        details={},
    )
    result = verify([*rewritten, last])
    assert result.intact
    assert result.head != entries[-1].hash
