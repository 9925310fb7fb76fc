"""The spool keeps what could not be delivered, through crashes, damage and full disks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.sdk.spool import Frame, Spool


class Losses(Counter[str]):
    def __call__(self, reason: str, events: int) -> None:
        self[reason] += events


def frame(number: int, size: int = 100) -> Frame:
    return Frame(body=f"{number:06d}".encode() + b"x" * size, events=number % 7 + 1)


def drain(spool: Spool) -> list[Frame]:
    found: list[Frame] = []
    while (waiting := spool.oldest()) is not None:
        found += waiting.frames
        spool.keep_rest(waiting, [])
    return found


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Losses(), segment_bytes=500)
    frames = [frame(number) for number in range(20)]
    for one in frames:
        spool.append(one)
    assert len(list(tmp_path.rglob("*.seg"))) > 3
    assert drain(spool) == frames
    assert spool.empty
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_partly_delivered_segment_keeps_its_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Losses())
    frames = [frame(number) for number in range(5)]
    for one in frames:
        spool.append(one)
    waiting = spool.oldest()
    assert waiting is not None
    spool.keep_rest(waiting, waiting.frames[2:])
    spool.append(frame(9))
    assert drain(spool) == [*frames[2:], frame(9)]
    spool.close()


def test_the_cap_drops_the_oldest_and_counts_every_event(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost, cap_bytes=2000, segment_bytes=500)
    frames = [frame(number) for number in range(40)]
    for one in frames:
        spool.append(one)
    kept = drain(spool)
    assert 0 < sum(len(one.body) for one in kept) <= 2000
    assert kept == frames[-len(kept) :]
    assert lost == {"spool_full": sum(one.events for one in frames[: -len(kept)])}
    spool.close()


def test_what_is_too_old_is_given_up_and_counted(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost, max_age_seconds=3600)
    spool.append(frame(3))
    (segment,) = tmp_path.rglob("*.seg")
    os.utime(segment, (1, 1))
    assert spool.oldest() is None
    assert lost == {"spool_expired": 4}
    spool.close()


def test_the_next_process_adopts_what_a_dead_one_left(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from controller.sdk.spool import Frame, Spool\n"
        "spool = Spool(Path(sys.argv[1]), print)\n"
        "for n in range(3): spool.append(Frame(body=b'from the dead %d' % n, events=2))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.rglob("*.seg"))) == 1
    spool = Spool(tmp_path, Losses())
    assert [one.body for one in drain(spool)] == [b"from the dead %d" % n for n in range(3)]
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    first = Spool(tmp_path, Losses())
    first.append(frame(1))
    second = Spool(tmp_path, Losses())
    assert second.empty
    assert drain(first) == [frame(1)]
    first.append(frame(2))
    first.close()
    third = Spool(tmp_path, Losses())
    assert drain(third) == [frame(2)]
    second.close()
    third.close()


def test_what_a_failed_write_left_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, Losses())
    spool.append(frame(1))
    real = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) > 20:
            return real(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        spool.append(frame(2, size=20))
    monkeypatch.setattr(os, "write", real)
    spool.append(frame(3))
    assert drain(spool) == [frame(1), frame(3)]
    spool.close()


@given(
    st.lists(st.text(min_size=1, max_size=60).map(str.encode), min_size=1, max_size=12),
    st.integers(0, 10_000),
    st.sampled_from(["cut", "flip", "grow"]),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_costs_the_damaged_batch_and_invents_nothing(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], place: int, how: str
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    lost = Losses()
    named = (b"%d:%s" % (number, body.replace(b"\0", b"-")) for number, body in enumerate(bodies))
    frames = [Frame(body=body, events=3) for body in named]
    spool = Spool(directory, lost)
    for one in frames:
        spool.append(one)
    (segment,) = directory.rglob("*.seg")
    data = bytearray(segment.read_bytes())
    place %= len(data)
    if how == "cut":
        data = data[:place]
    elif how == "flip":
        data[place] ^= 0xFF
    else:
        data += b"\x00\x00\x00\x05torn"
    segment.write_bytes(bytes(data))
    kept = [one.body for one in drain(spool)]
    whole = [one.body for one in frames]
    if how == "cut":
        assert kept == whole[: len(kept)]
        assert lost["spool_damaged"] in {0, 1, 3}, "one torn batch, or a clean cut"
    elif how == "grow":
        assert kept == whole
        assert lost == {"spool_damaged": 1}
    else:
        missing = [body for body in whole if body not in kept]
        assert len(missing) <= 1
        assert kept == [body for body in whole if body in kept]
        assert (lost["spool_damaged"] in {1, 3}) == (len(kept) < len(whole))
    spool.close()


def test_one_flipped_bit_anywhere_costs_one_batch_of_ten_and_says_how_much(tmp_path: Path) -> None:
    for place in range(0, 3 * 120, 7):
        lost = Losses()
        spool = Spool(tmp_path, lost)
        frames = [Frame(body=b'{"batch":%d}' % n + b"x" * 97, events=500) for n in range(10)]
        for one in frames:
            spool.append(one)
        (segment,) = tmp_path.rglob("*.seg")
        data = bytearray(segment.read_bytes())
        data[place] ^= 1
        segment.write_bytes(bytes(data))
        kept = drain(spool)
        assert len(kept) >= 9, place
        assert len(kept) == 10 or lost["spool_damaged"] in {1, 500}, "a header may lie, 0 it is not"
        spool.close()


def test_damage_is_told_once_however_often_the_segment_is_read(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost)
    for number in range(3):
        spool.append(frame(number))
    (segment,) = tmp_path.rglob("*.seg")
    data = bytearray(segment.read_bytes())
    data[50] ^= 1
    segment.write_bytes(bytes(data))
    for _ in range(3):
        waiting = spool.oldest()
        assert waiting is not None
        assert waiting.frames == [frame(1), frame(2)]
    assert lost == {"spool_damaged": 1}
    spool.close()


def test_a_block_of_zeros_after_a_power_cut_is_no_batch(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost)
    spool.append(frame(1))
    (segment,) = tmp_path.rglob("*.seg")
    with segment.open("ab") as file:
        file.write(bytes(4096))
    assert drain(spool) == [frame(1)]
    assert lost == {"spool_damaged": 1}
    spool.close()


def test_a_rewritten_segment_stays_as_old_as_it_was(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost, max_age_seconds=3600)
    for number in range(3):
        spool.append(frame(number))
    (segment,) = tmp_path.rglob("*.seg")
    begun = segment.stat().st_mtime - 1800
    os.utime(segment, (begun, begun))
    waiting = spool.oldest()
    assert waiting is not None
    spool.keep_rest(waiting, waiting.frames[2:], aside=waiting.frames[0])
    assert [path.stat().st_mtime for path in tmp_path.rglob("*.seg")] == [begun, begun]
    spool.close()


def test_what_is_set_aside_waits_behind_everything_and_takes_turns(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Losses())
    for number in (1, 2):
        spool.append(frame(number))
        waiting = spool.oldest()
        assert waiting is not None
        spool.keep_rest(waiting, [], aside=waiting.frames[0])
    spool.append(frame(3))
    order: list[tuple[int, bool]] = []
    for _ in range(4):
        waiting = spool.oldest()
        assert waiting is not None
        (one,) = waiting.frames
        order.append((int(one.body[:6]), waiting.aside))
        spool.keep_rest(waiting, [], aside=one if waiting.aside else None)
    assert order == [(3, False), (1, True), (2, True), (1, True)]
    spool.close()
    again = Spool(tmp_path, Losses())
    waiting = again.oldest()
    assert waiting is not None
    assert (waiting.frames, waiting.aside) == ([frame(2)], True), "the next process knows it, too"
    again.close()


def test_room_is_made_by_what_was_set_aside_first(tmp_path: Path) -> None:
    lost = Losses()
    spool = Spool(tmp_path, lost, cap_bytes=300)
    spool.append(frame(6))
    waiting = spool.oldest()
    assert waiting is not None
    spool.keep_rest(waiting, [], aside=waiting.frames[0])
    for number in (1, 2):
        spool.append(frame(number))
    assert drain(spool) == [frame(1), frame(2)]
    assert lost == {"spool_full": 7}
    spool.close()


def test_a_directory_of_somebody_else_costs_nothing(tmp_path: Path) -> None:
    other = Spool(tmp_path, Losses())
    other.append(frame(1))
    (segment,) = tmp_path.rglob("*.seg")
    other.close()
    lock = segment.parent / "lock"
    lock.unlink()
    lock.mkdir()  # opening it fails for any user
    spool = Spool(tmp_path, Losses())
    spool.append(frame(2))
    assert drain(spool) == [frame(2)]
    spool.close()
