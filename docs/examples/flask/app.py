"""Flask: decide on a credit application with the model the customer was assigned."""

from flask import Flask, request

from controller.sdk import Client

SLOT = "credit-score"
app = Flask(__name__)
client = Client.from_env()  # one for the process; forked workers start afresh by themselves
client.wait_until_ready(5.0)  # at start-up only: without a ruleset the answer is your default


@app.post("/applications")
def decide() -> dict[str, object]:
    """Ask for the model, use it, and report which prediction was served."""
    asked = request.get_json()
    choice = client.assign(
        SLOT,
        unit=asked["customer"],
        attributes={"plan": asked["plan"]},
        default={"threshold": 0.5},
    )
    score = min(asked["income"] / 100_000, 1.0)
    client.record(choice, unit=asked["customer"], ref=asked["application"], score=score)
    return {"granted": score >= choice.payload["threshold"], "arm": choice.arm}


@app.post("/payments")
def paid() -> tuple[str, int]:
    """Report what the decision earned; the payment's own number makes a repeat harmless."""
    paid = request.get_json()
    client.track(
        "margin",
        ref=paid["application"],
        slot=SLOT,
        value=paid["margin"],
        occurred_at=paid["at"],
        event_id=f"payment-{paid['number']}",
    )
    return "", 204
