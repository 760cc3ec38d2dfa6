"""Tools of a tenant, made for a test."""

import itertools

from kit.client import checked

ECHO = "import json, sys\nprint(json.dumps({'got': json.load(sys.stdin)}))"     # Python that tells its input
numbers = itertools.count(1)


def make_tool(api, config, **more):
    """Store a tool, by a name of its own when none is given; its id."""
    body = {"name": f"tool {next(numbers)}", "execution_config": config, **more}
    return checked(api.post("tools", json=body), 201).json()["tool"]["id"]
