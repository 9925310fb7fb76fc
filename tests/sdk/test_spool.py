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
    while (stored := spool.oldest()) is not None:
        path, frames = stored
        found += frames
        spool.keep_rest(path, [])
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
    stored = spool.oldest()
    assert stored is not None
    spool.keep_rest(stored[0], stored[1][2:])
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
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12),
    st.integers(0, 10_000),
    st.sampled_from(["cut", "flip", "grow"]),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_never_invents_reorders_or_raises(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], place: int, how: str
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    lost = Losses()
    spool = Spool(directory, lost)
    frames = [Frame(body=body, events=1) for body in bodies]
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
    kept = drain(spool)
    assert [one.body for one in kept] == bodies[: len(kept)]
    if how == "grow":
        assert len(kept) == len(bodies)
    spool.close()
