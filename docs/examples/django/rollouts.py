"""Django: the one client of the process, imported wherever a model is asked for."""

from controller.sdk import Client

client = Client.from_env()
client.wait_until_ready(5.0)  # at start-up only: without a ruleset the answer is your default
