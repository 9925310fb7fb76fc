"""FastAPI: decide on a credit application with the model the customer was assigned."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from controller.sdk import AsyncClient

SLOT = "credit-score"
client = AsyncClient.from_env()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Wait a moment for the first ruleset; deliver what is left when the server stops."""
    await client.wait_until_ready(5.0)
    yield
    await client.close()


app = FastAPI(lifespan=lifespan)


class Application(BaseModel):
    """What a customer asks for."""

    application: str
    customer: str
    plan: str
    income: float


class Payment(BaseModel):
    """What a decision earned."""

    number: int
    application: str
    margin: float
    at: str


@app.post("/applications")
async def decide(asked: Application) -> dict[str, object]:
    """Nothing is awaited here: an answer comes from memory, in about a microsecond."""
    choice = client.assign(
        SLOT, unit=asked.customer, attributes={"plan": asked.plan}, default={"threshold": 0.5}
    )
    score = min(asked.income / 100_000, 1.0)
    client.record(choice, unit=asked.customer, ref=asked.application, score=score)
    return {"granted": score >= choice.payload["threshold"], "arm": choice.arm}


@app.post("/payments", status_code=204)
async def paid(payment: Payment) -> None:
    """Report what the decision earned; the payment's own number makes a repeat harmless."""
    client.track(
        "margin",
        ref=payment.application,
        slot=SLOT,
        value=payment.margin,
        occurred_at=payment.at,
        event_id=f"payment-{payment.number}",
    )
