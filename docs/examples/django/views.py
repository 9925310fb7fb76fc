"""Django: decide on a credit application with the model the customer was assigned."""

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST
from rollouts import client

SLOT = "credit-score"


@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Ask for the model, use it, and report which prediction was served."""
    asked = json.loads(request.body)
    choice = client.assign(
        SLOT,
        unit=asked["customer"],
        attributes={"plan": asked["plan"]},
        default={"threshold": 0.5},
    )
    score = min(asked["income"] / 100_000, 1.0)
    client.record(choice, unit=asked["customer"], ref=asked["application"], score=score)
    return JsonResponse({"granted": score >= choice.payload["threshold"], "arm": choice.arm})


@require_POST
def paid(request: HttpRequest) -> HttpResponse:
    """Report what the decision earned; the payment's own number makes a repeat harmless."""
    paid = json.loads(request.body)
    client.track(
        "margin",
        ref=paid["application"],
        slot=SLOT,
        value=paid["margin"],
        occurred_at=paid["at"],
        event_id=f"payment-{paid['number']}",
    )
    return HttpResponse(status=204)
