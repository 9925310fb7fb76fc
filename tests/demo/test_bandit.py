"""Two queues of real clicks."""

from __future__ import annotations

import numpy as np
import pytest

from controller.demo.bandit import BanditLog, Queues, load_bandit


@pytest.fixture(scope="module")
def log() -> BanditLog:
    return load_bandit()


def test_each_policy_logged_ten_thousand_rows_in_time_order(log: BanditLog) -> None:
    assert len(log.champion_clicks) == len(log.challenger_clicks) == 10_000
    assert log.champion_clicks.sum() == 46
    assert log.challenger_clicks.sum() == 69
    assert (np.diff(log.arrival_second) >= 0).all()
    assert 6.9 < log.arrival_second[-1] / 86_400 < 7.1


def test_a_queue_hands_out_its_own_rows_in_order(log: BanditLog) -> None:
    queues = Queues(log)
    taken = [queues.take("challenger") for _ in range(500)]
    assert taken == log.challenger_clicks[:500].astype(bool).tolist()
    assert queues.take("champion") == bool(log.champion_clicks[0])


def test_one_empty_log_ends_it(log: BanditLog) -> None:
    queues = Queues(log)
    for _ in range(10_000):
        assert not queues.exhausted
        queues.take("champion")
    assert queues.exhausted
    with pytest.raises(IndexError):
        queues.take("champion")


def test_a_peeked_t_test_would_have_shipped_it(log: BanditLog) -> None:
    n = np.arange(200, 10_001)
    champion, challenger = (
        log.champion_clicks.cumsum()[n - 1],
        log.challenger_clicks.cumsum()[n - 1],
    )
    rate = (champion + challenger) / (2 * n)
    z = (challenger - champion) / n / np.sqrt(rate * (1 - rate) * 2 / n)
    assert z.max() > 2.9
    assert z[-1] < 2.3
