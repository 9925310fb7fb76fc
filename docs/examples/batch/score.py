"""A batch scorer: a table of customers in, a table of decisions out, arm by arm.

Usage: python score.py CUSTOMERS.csv DECISIONS.csv
"""

import sys

import pandas as pd

from controller.sdk import Client
from controller.sdk.bulk import assign_array

SLOT = "credit-score"
BATCH = 10_000  # the client's queue holds 20,000 events: let them go in between


def main(customers: str, decisions: str) -> None:
    """Assign the whole column at once, score each model's rows together, report who met what."""
    table = pd.read_csv(customers, dtype={"customer": str})
    with Client.from_env() as client:
        if not client.wait_until_ready(30.0) or client.ruleset is None:
            sys.exit("there is no ruleset: not scored")
        found = assign_array(client.ruleset, SLOT, table["customer"])
        table["arm"] = found.arms
        table["score"] = (table["income"] / 100_000).clip(upper=1.0)
        for code, choice in enumerate(found.choices):
            rows = found.codes == code
            table.loc[rows, "granted"] = table["score"] >= choice.payload["threshold"]
        table.to_csv(decisions, index=False)
        # Only now has anybody met an arm. Report it, and wait until the service has it on disk.
        for row, (unit, code) in enumerate(zip(table["customer"], found.codes, strict=True), 1):
            client.expose(found.choices[code].for_unit(unit))
            if row % BATCH == 0 or row == len(table):
                client.flush(60.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
