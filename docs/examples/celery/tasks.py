"""Celery: score in the background; every child of the pool has its own threads and its own queue.

The client is made once, at import. A child starts it with its first task and delivers what its
tasks reported before it leaves, also when it is recycled (`--max-tasks-per-child`).
"""

import os

from celery import Celery

from controller.sdk import Client

SLOT = "credit-score"
app = Celery("tasks", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"))
client = Client.from_env()


@app.task
def decide(application: str, customer: str, plan: str, income: float) -> None:
    """Ask for the model, use it, and report which prediction was served."""
    client.wait_until_ready(5.0)  # a task may wait for the first ruleset; later this is free
    choice = client.assign(
        SLOT, unit=customer, attributes={"plan": plan}, default={"threshold": 0.5}
    )
    client.record(choice, unit=customer, ref=application, score=min(income / 100_000, 1.0))


@app.task
def paid(number: int, application: str, margin: float, at: str) -> None:
    """Report what the decision earned; a task that runs twice counts once."""
    client.track(
        "margin",
        ref=application,
        slot=SLOT,
        value=margin,
        occurred_at=at,
        event_id=f"payment-{number}",
    )
