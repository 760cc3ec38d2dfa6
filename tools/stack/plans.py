"""Bring quotas/plans.json into a database. Checked against the rules of quotas/plans.schema.json first."""

import json
import re

from place import StackError


class Check:
    """Checks the value of a file by a JSON Schema, as far as those of our tables go; system Python has no library for it."""

    def __init__(self, schema, name):
        self.schema, self.name = schema, name
        self.types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}

    def check(self, value, rule, path):
        """Raise StackError naming the first place that does not fit."""
        if "$ref" in rule:
            rule = self.schema["definitions"][rule["$ref"].rpartition("/")[2]]
        kind = self.types[rule["type"]]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise StackError(f"{path} must be of type {rule['type']}")
        getattr(self, rule["type"])(value, rule, path)

    def object(self, value, rule, path):
        for name in rule.get("required", ()):
            if name not in value:
                raise StackError(f"{path or self.name} has no {name}")
        for name, member in value.items():
            if name not in rule["properties"]:
                raise StackError(f"{path or self.name} has a member {name}, which is not known")
            self.check(member, rule["properties"][name], f"{path}.{name}" if path else name)

    def array(self, value, rule, path):
        self.bounds(len(value), rule.get("minItems"), rule.get("maxItems"), f"the number of {path}")
        for index, item in enumerate(value):
            self.check(item, rule["items"], f"{path}[{index}]")

    def string(self, value, rule, path):
        self.bounds(len(value), rule.get("minLength"), rule.get("maxLength"), f"the length of {path}")
        if "pattern" in rule and not re.search(rule["pattern"], value):
            raise StackError(f"{path} does not match {rule['pattern']}")

    def integer(self, value, rule, path):
        self.bounds(value, rule.get("minimum"), rule.get("maximum"), path)

    number = integer

    @staticmethod
    def bounds(value, least, most, what):
        if (least is not None and value < least) or (most is not None and value > most):
            raise StackError(f"{what} must be from {least} to {most}, not {value}")


def read_plans(folder):
    """The plans of a folder quotas/, checked."""
    try:
        plans = json.loads((folder / "plans.json").read_text())
        schema = json.loads((folder / "plans.schema.json").read_text())
    except ValueError as error:
        raise StackError(f"a file of {folder} is no JSON: {error}") from None
    Check(schema, "plans.json").check(plans, schema, "")
    names = [plan["name"] for plan in plans["plans"]]
    for name in names:
        if names.count(name) > 1:
            raise StackError(f"plans.json has the plan {name} twice")
    if plans["default"] not in names:
        raise StackError(f"the default plan {plans['default']} is not among the plans")
    return plans


def put_plans(database, folder, say):
    """Take over what changed; returns how many plans did."""
    text = json.dumps(read_plans(folder)).replace("'", "''")
    try:
        count = int(database.run(f"BEGIN;\nSET LOCAL ROLE windlass_owner;\nSELECT control.plans_put('{text}');\nCOMMIT;"))
    except StackError as error:
        raise StackError(f"the plans of {folder / 'plans.json'} were not taken over: {error}") from None
    if count:
        say(f"{count} plans of quotas/plans.json are new or changed")
    return count
