"""What a model server imports: ``from controller.sdk import Client``. Standard library only."""

from controller.sdk.aio import AsyncClient
from controller.sdk.client import Client

__all__ = ["AsyncClient", "Client"]
