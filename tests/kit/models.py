"""Providers, agents and crews of a tenant, made for a test, and people's answers to what they ask."""

import itertools

from kit.client import checked
from kit.waiting import wait_until

KEY = "sk-planted-0123456789abcdef"     # what the scripted server is given as a key
numbers = itertools.count(1)


def provider(api, models, kind="openai", **config):
    """A provider that asks the scripted server; its id."""
    body = {"name": f"scripted {next(numbers)}", "provider_type": kind, "api_credentials": {"api_key": KEY},
            "config": {"base_url": models.base(kind), "default_model": "scripted-1", "allow_private": True, "max_retries": 0,
                       **config}}
    return checked(api.post("llm-providers", json=body), 201).json()["llm_provider"]["id"]


def agent(api, provider_id, name="Ada", **config):
    body = {"name": f"{name} {next(numbers)}", "llm_provider_id": provider_id, "state": "active",
            "config": {"role": name, "goal": "to count well", "backstory": "Counts since ever.", **config}}
    return checked(api.post("agents", json=body), 201).json()["agent"]["id"]


def crew(api, agents, tasks, pattern="sequential", **config):
    body = {"name": f"crew {next(numbers)}", "agent_ids": agents, "collaboration_pattern": pattern, "state": "active",
            "config": {"tasks": tasks, **config}}
    return checked(api.post("crews", json=body), 201).json()["crew"]["id"]


def two_tasks(one, two, **more):
    return [{"name": "find", "description": "Find facts about {topic}", "expected_output": "Facts", "agent_id": one},
            {"name": "write", "description": "Write about {topic}", "expected_output": "A text", "agent_id": two, **more}]


def decide(api, eid, what, comment=""):
    def pending():
        found = checked(api.get(f"approvals?status=pending&execution_id={eid}"), 200).json()["approvals"]
        return found[0] if found else None
    approval = wait_until(pending, "a question to a person", 20)
    checked(api.post(f"approvals/{approval['id']}/decide", json={"decision": what, "comment": comment}), 200)
    return approval
