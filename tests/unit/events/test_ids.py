import re
import uuid

from controller.events.ids import EventIds


def test_ids_are_version_7_uuids_that_sort_by_time() -> None:
    now = [1_800_000_000.0]
    mint = EventIds(clock=lambda: now[0], seed=lambda n: b"\x01" * n)
    ids = []
    for _ in range(200):
        ids.append(mint())
        now[0] += 0.001
    assert ids == sorted(ids)
    for text in ids:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
        value = uuid.UUID(text)
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert int(ids[0].replace("-", "")[:12], 16) == 1_800_000_000_000


def test_ids_never_repeat_even_when_the_clock_stands_or_jumps_back() -> None:
    now = [1_800_000_000.0]
    mint = EventIds(clock=lambda: now[0])
    ids = [mint() for _ in range(20_000)]
    now[0] -= 3600
    ids += [mint() for _ in range(20_000)]
    assert len(set(ids)) == 40_000


def test_two_processes_do_not_meet() -> None:
    first, second = EventIds(clock=lambda: 1.0), EventIds(clock=lambda: 1.0)
    assert not {first() for _ in range(5000)} & {second() for _ in range(5000)}
