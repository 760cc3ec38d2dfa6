"""Bring policies/prices/prices.json into a database. Checked against the rules of its schema first."""

import json

from place import StackError
from plans import Check


def read_prices(folder):
    """The table of a folder policies/prices/, checked."""
    try:
        table = json.loads((folder / "prices.json").read_text())
        schema = json.loads((folder / "prices.schema.json").read_text())
    except ValueError as error:
        raise StackError(f"a file of {folder} is no JSON: {error}") from None
    Check(schema, "prices.json").check(table, schema, "")
    seen = set()
    for price in table["prices"]:
        which = (price["provider_type"], price["model"])
        if which in seen:
            raise StackError(f"prices.json has the model {which[1]} of {which[0]} twice")
        seen.add(which)
    return table


def put_prices(database, folder, say):
    """Take over what changed; returns how many prices did."""
    text = json.dumps(read_prices(folder)).replace("'", "''")
    count = int(database.run(f"BEGIN;\nSET LOCAL ROLE windlass_owner;\nSELECT control.prices_put('{text}');\nCOMMIT;"))
    if count:
        say(f"{count} prices of policies/prices/prices.json are new or changed")
    return count
