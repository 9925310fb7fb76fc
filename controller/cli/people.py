"""`controller operator | key`: who may come in."""

from __future__ import annotations

import argparse
import sys

from controller.cli.client import ServiceClient, segment
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb
from controller.flow.actors import Bundle, Role, Scope


def add(commands: Commands) -> None:
    """Add both nouns."""
    operator = add_noun(commands, "operator", "people")
    add_verb(operator, "list", "list operators", _operators)
    new = add_verb(operator, "add", "add a person; prints a one-use sign-in link", _add_operator)
    new.add_argument("name")
    new.add_argument("--roles", nargs="+", choices=[role.value for role in Role], required=True)
    new.add_argument(
        "--in-database",
        action="store_true",
        help="write to DATABASE_URL itself: for the first person, who has nobody to ask",
    )
    ask = new.get_default("run")
    new.set_defaults(run=lambda given: _add_first(given) if given.in_database else ask(given))
    key = add_noun(commands, "key", "keys of services")
    add_verb(key, "list", "list keys", _keys)
    made = add_verb(key, "create", "make a key; it is shown once", _create_key)
    made.add_argument("name")
    made.add_argument(
        "--scopes",
        nargs="+",
        choices=[scope.value for scope in (*Scope, *Bundle)],
        required=True,
        help="sdk = ruleset evaluate ingest; client, alone: for browsers and phones",
    )
    made.add_argument(
        "--origins", nargs="*", default=[], help="websites whose browsers may use a client's key"
    )
    add_verb(key, "revoke", "end a key", _revoke_key).add_argument("key_id")


def _operators(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/operators")
    if arguments.json:
        print_json(document)
    else:
        print_table(document["operators"], ("name", "roles", "active"))
    return Exit.OK


def _add_operator(client: ServiceClient, arguments: argparse.Namespace) -> int:
    answer, _ = client.call(
        "POST", "/v1/operators", body={"name": arguments.name, "roles": arguments.roles}
    )
    if arguments.json:
        print_json(answer)
    else:
        print(f"Sign-in link of {arguments.name}, good once until {answer['expires_at']}:")
        print(answer["link"])
    return Exit.OK


def _add_first(arguments: argparse.Namespace) -> int:
    """Add a person without a service to ask: whoever can write the database may do this anyway."""
    from controller.flow.actors import MACHINE
    from controller.flow.people import add_operator, make_link
    from controller.settings import from_environment
    from controller.storage.sql.unit_of_work import SqlStore
    from controller.wiring import database

    settings = from_environment()
    opened = database(settings)
    try:
        store = SqlStore(opened)
        add_operator(store, arguments.name, [Role(role) for role in arguments.roles], actor=MACHINE)
        secret, expires_at = make_link(store, arguments.name, actor=MACHINE)
    finally:
        opened.dispose()
    print(f"Sign-in link of {arguments.name}, good once until {expires_at.isoformat()}:")
    print(f"{settings.url}/link/{secret}")
    return Exit.OK


def _keys(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/keys")
    if arguments.json:
        print_json(document)
    else:
        print_table(document["keys"], ("key_id", "name", "scopes", "client", "revoked_at"))
    return Exit.OK


def _create_key(client: ServiceClient, arguments: argparse.Namespace) -> int:
    answer, _ = client.call(
        "POST",
        "/v1/keys",
        body={"name": arguments.name, "scopes": arguments.scopes, "origins": arguments.origins},
    )
    if arguments.json:
        print_json(answer)
    else:
        print("The key, shown once:", file=sys.stderr)
        print(answer["key"])
    return Exit.OK


def _revoke_key(client: ServiceClient, arguments: argparse.Namespace) -> int:
    client.call("DELETE", f"/v1/keys/{segment(arguments.key_id)}")
    print(f"Key {arguments.key_id} is revoked.", file=sys.stderr)
    return Exit.OK
