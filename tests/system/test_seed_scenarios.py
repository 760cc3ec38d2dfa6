"""Three stories of people who use the platform, told from their first request to what they came for."""


from kit.client import PASSWORD, checked, problem
from kit.flows import Flow, ex

GREET = "import sys, json\nprint(json.dumps({'hello': json.load(sys.stdin)['name']}))"


def test_from_registration_to_the_first_flow(stack):
    """Somebody comes, has a tenant, takes a template, runs it, publishes it and finds it again the next day."""
    ada = stack.api().register()
    me = checked(ada.get("auth/me"), 200).json()
    assert me["role"] == "admin" and me["tenant"]["slug"] == ada.slug and me["tenant"]["state"] == "active"
    assert checked(ada.get("flows"), 200).json()["total"] == 0
    limits = {row["name"]: row for row in checked(ada.get("quotas"), 200).json()["quotas"]}
    assert limits["max_flows"]["limit"] == 100 and limits["max_executions_per_day"]["used"] == 0
    template = checked(ada.get("templates"), 200).json()["templates"][0]["name"]
    flow_id = checked(ada.post(f"templates/{template}/use", json={"name": "mine"}), 201).json()["flow"]["id"]
    checked(ada.put(f"flows/{flow_id}", json=Flow().transform("up", ex(".inputs.word | ascii_upcase"))
                    .output(ex(".nodes.up")).schema(input_schema={}, output_schema={}).document()), 200)
    answer = ada.wait(ada.start(flow_id, {"word": "hello"}))
    assert answer["execution"]["status"] == "succeeded" and answer["execution"]["outputs"] == "HELLO"
    assert checked(ada.post(f"flows/{flow_id}/publish", json={"note": "first"}), 201).json()["version"]["version"] == 1
    later = stack.api().login(ada.email, ada.slug)
    found = checked(later.get("flows", params={"search": "mine"}), 200).json()["flows"]
    assert [flow["id"] for flow in found] == [flow_id] and found[0]["status"] == "published"
    limits = {row["name"]: row for row in checked(later.get("quotas"), 200).json()["quotas"]}
    assert limits["max_flows"]["used"] == 1 and limits["max_executions_per_day"]["used"] == 1


def test_from_a_flow_by_an_agents_tool_to_an_execution(stack, admin):
    """A tool is made and tried, an agent gets it, a published flow calls it: and now none of them can just go."""
    tool = checked(admin.post("tools", json={
        "name": "greet", "execution_config": {"kind": "code", "language": "python", "source": GREET},
        "input_schema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}), 201).json()["tool"]
    tried = checked(admin.post(f"tools/{tool['id']}/test", json={"input": {"name": "Ada"}}, timeout=60), 200).json()
    assert tried["status"] == "succeeded" and tried["outputs"] == {"hello": "Ada"}
    provider = checked(admin.post("llm-providers", json={"name": "demo", "provider_type": "demo"}), 201).json()["llm_provider"]
    agent = checked(admin.post("agents", json={"name": "Greeter", "llm_provider_id": provider["id"],
                                               "config": {"tools": [tool["id"]]}}), 201).json()["agent"]
    flow = Flow().add("call", "tool", tool_id=tool["id"], input={"name": ex(".inputs.who")}).output(ex(".nodes.call.hello"))
    flow_id = admin.create(flow, name="hello")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    answer = admin.wait(admin.start(flow_id, {"who": "Grace"}))
    assert answer["execution"]["outputs"] == "Grace", answer
    node = {one["node_id"]: one for one in answer["nodes"]}["call"]
    assert node["status"] == "succeeded" and node["receipt"]["profile_hash"]
    wrong = admin.wait(admin.start(flow_id, {"who": 7}))
    assert wrong["execution"]["status"] == "failed" and wrong["execution"]["error"]["code"] == "input_invalid"
    uses = {use["type"] for use in checked(admin.get(f"tools/{tool['id']}/uses"), 200).json()["uses"]}
    assert uses == {"agent", "flow"}
    assert "hello" in problem(admin.delete(f"tools/{tool['id']}"), 409)["detail"] + str(
        problem(admin.delete(f"tools/{tool['id']}"), 409).get("errors"))
    checked(admin.delete(f"flows/{flow_id}"), 204)
    checked(admin.delete(f"agents/{agent['id']}"), 204)
    checked(admin.delete(f"tools/{tool['id']}"), 204)


def test_from_several_people_by_sharing_to_permissions(stack, admin):
    """An admin invites two; one makes a private flow and shares it, step by step, and takes it back."""
    grace = invited(stack, admin, "grace", "editor")
    linus = invited(stack, admin, "linus", "executor")
    flow_id = grace.create(Flow().output(ex(".inputs")), name="private plans")
    checked(grace.post(f"flows/{flow_id}/publish", json={}), 201)
    checked(grace.put(f"flows/{flow_id}/sharing", json={"visibility": "private"}), 200)
    problem(linus.get(f"flows/{flow_id}"), 404)
    problem(linus.execute(flow_id), 404)
    assert checked(linus.get("flows"), 200).json()["total"] == 0

    def share(access):
        checked(grace.put(f"flows/{flow_id}/sharing", json={"shares": [{"user_id": linus.user_id, "access": access}]}), 200)

    share("view")
    assert checked(linus.get(f"flows/{flow_id}/sharing"), 200).json()["sharing"]["your_access"] == "view"
    problem(linus.execute(flow_id), 403)
    share("run")
    eid = checked(linus.execute(flow_id, {"n": 1}), 202).json()["execution_id"]
    assert linus.wait(eid)["execution"]["outputs"] == {"n": 1}
    share("edit")
    problem(linus.put(f"flows/{flow_id}", json={"name": "his now"}), 403)   # a share gives no more than the role
    checked(grace.put(f"flows/{flow_id}/sharing", json={"shares": []}), 200)
    problem(linus.get(f"executions/{eid}"), 404)
    checked(admin.get(f"flows/{flow_id}"), 200)                             # admins see what is private
    checked(admin.put(f"users/{linus.user_id}", json={"state": "disabled"}), 200)
    assert stack.api().post("auth/login", json={"email": linus.email, "password": PASSWORD,
                                                "tenant_slug": admin.slug}).status_code == 403


def invited(stack, admin, name, role):
    """Somebody who came by a link."""
    email = f"{name}@{admin.slug}.test"
    token = checked(admin.post("invitations", json={"email": email, "role": role}), 201).json()["token"]
    person = stack.api()
    assert checked(person.post("auth/invitations/preview", json={"token": token}), 200).json()["role"] == role
    checked(person.post("auth/invitations/accept", json={"token": token, "password": PASSWORD}), 201)
    return person.login(email, admin.slug)
