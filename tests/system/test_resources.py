"""Agents, crews, tools and LLM providers as rows: versions, states, references, uses, and what is refused."""

import concurrent.futures
import uuid

import pytest

from kit.client import checked, fault_paths, problem

CODE = {"kind": "code", "language": "python", "source": "print(1)"}
KINDS = {
    "agents": ("agent", {"name": "Ada", "system_prompt": "You count."}, {"system_prompt": "You count twice."}),
    "tools": ("tool", {"name": "count", "execution_config": CODE}, {"execution_config": {**CODE, "source": "print(2)"}}),
    "llm-providers": ("llm_provider", {"name": "demo", "provider_type": "demo"}, {"is_active": False}),
}
plural = lambda path: path.replace("-", "_")
some_id = lambda: str(uuid.uuid4())


@pytest.fixture(scope="module")
def admin(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def editor(stack, admin):
    return stack.user(admin, "editor")


@pytest.fixture
def api(stack):
    return stack.tenant()


def make(api, path, **body):
    """The thing, made."""
    kind = {"agents": "agent", "crews": "crew", "tools": "tool", "llm-providers": "llm_provider"}[path]
    return checked(api.post(path, json=body), 201).json()[kind]


def agent(api, name="agent", **more):
    return make(api, "agents", name=name, **more)["id"]


def tool(api, name="tool", **more):
    return make(api, "tools", name=name, execution_config=CODE, **more)["id"]


def provider(api, name="provider", **config):
    return make(api, "llm-providers", name=name, provider_type="vllm",
                config={"base_url": "http://vllm.example.org", **config})["id"]


def task(name, agent_id=None, **more):
    return {"name": name, "description": "d", "expected_output": "e", **({"agent_id": agent_id} if agent_id else {}), **more}


# ---- the same for each kind ----------------------------------------------------------------------

@pytest.mark.parametrize("path", KINDS)
def test_a_thing_is_made_read_changed_and_deleted(api, path):
    kind, body, change = KINDS[path]
    answer = checked(api.post(path, json=body), 201)
    made = answer.json()[kind]
    where = answer.headers["Location"]
    assert where == f"/api/v1/{path}/{made['id']}" and answer.headers["ETag"] == '"1"'
    assert (made["state"], made["version"], made["uses"], made["description"]) == ("active", 1, 0, "")
    assert made["created_by"] == api.user_id and body.items() <= made.items()
    read = checked(api.get(where), 200)
    assert read.json()[kind] == made and read.headers["ETag"] == '"1"'
    changed = checked(api.put(where, json=change, headers={"If-Match": '"1"'}), 200)
    assert changed.headers["ETag"] == '"2"' and changed.json()[kind]["version"] == 2
    assert change.items() <= changed.json()[kind].items() and changed.json()[kind]["name"] == body["name"]
    problem(api.put(where, json=change, headers={"If-Match": '"1"'}), 412)
    problem(api.put(where, json={"state": "gone"}), 400)
    checked(api.put(where, json={"state": "archived", "name": "other", "description": "why"}), 200)
    versions = checked(api.get(f"{where}/versions"), 200).json()
    assert [v["version"] for v in versions["versions"]] == [3, 2, 1] and versions["total"] == 3
    assert [v["name"] for v in versions["versions"]] == ["other", body["name"], body["name"]]
    assert versions["versions"][2]["note"] == "made" and "state" in versions["versions"][0]["note"]
    old = checked(api.get(f"{where}/versions/1"), 200).json()[kind]
    assert old["version"] == 1 and body.items() <= old.items() and old["state"] == "active"
    problem(api.get(f"{where}/versions/9"), 404)
    checked(api.delete(where), 204)
    for answer in (api.get(where), api.put(where, json=change), api.delete(where), api.get(f"{where}/versions"),
                   api.get(f"{where}/versions/1"), api.get(f"{where}/uses")):
        problem(answer, 404)
    checked(api.post(path, json={**body, "name": "other"}), 201)     # the name is free again


@pytest.mark.parametrize("path", KINDS)
def test_names_are_had_once(api, path):
    kind, body, _ = KINDS[path]
    make(api, path, **body)
    refused = api.post(path, json=body)
    assert fault_paths(refused, 409) == ["name"]
    other = make(api, path, **{**body, "name": "second"})
    assert fault_paths(api.put(f"{path}/{other['id']}", json={"name": body["name"]}), 409) == ["name"]
    checked(api.put(f"{path}/{other['id']}", json={"name": "second"}), 200)     # its own
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda _: api.post(path, json={**body, "name": "race"}).status_code, range(12)))
    assert sorted(codes) == [201] + [409] * 11


@pytest.mark.parametrize("path", KINDS)
def test_changes_at_once_are_all_counted(api, path):
    _, body, _ = KINDS[path]
    where = f"{path}/{make(api, path, **body)['id']}"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: api.put(where, json={"description": str(n)}), range(16)))
    assert sorted(int(a.headers["ETag"].strip('"')) for a in answers) == list(range(2, 18))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: api.put(where, json={"description": "x"}, headers={"If-Match": '"17"'}).status_code,
                              range(8)))
    assert sorted(codes) == [200] + [412] * 7
    assert checked(api.get(f"{where}/versions?limit=100"), 200).json()["total"] == 18


def test_lists_search_filter_sort_and_page(api):
    for name, state in (("Banana", "active"), ("apple", "draft"), ("cherry", "active"), ("date", "archived")):
        make(api, "tools", name=name, description=f"a {state} FRUIT", state=state, execution_config=CODE)

    def names(query):
        return [one["name"] for one in checked(api.get(f"tools?{query}"), 200).json()["tools"]]
    assert names("") == ["date", "cherry", "apple", "Banana"]
    assert sorted(names("sort=name")) == sorted(["Banana", "apple", "cherry", "date"])
    assert names("sort=-name") == names("sort=name")[::-1]
    assert names("sort=created_at") == ["Banana", "apple", "cherry", "date"]
    assert names("search=AN") == ["Banana"] and len(names("search=fruit")) == 4 and names("search=%25") == []
    assert names("state=active&sort=created_at") == ["Banana", "cherry"]
    page = checked(api.get("tools?limit=3&page=2&sort=created_at"), 200).json()
    assert [one["name"] for one in page["tools"]] == ["date"]
    assert page["total"] == 4 and page["page_info"] == {"page": 2, "limit": 3, "pages": 2}
    for bad in ("sort=uses", "state=none", "page=0", "limit=101", "search=", "sort=name;drop"):
        problem(api.get(f"tools?{bad}"), 400)


@pytest.mark.parametrize("path", [*KINDS, "crews"])
def test_another_tenant_sees_and_changes_nothing(stack, api, path):
    if path == "crews":
        one = agent(api)
        thing = make(api, "crews", name="crew", agent_ids=[one], config={"tasks": [task("t", one)]})
        change = {"description": "x"}
    else:
        thing, change = make(api, path, **KINDS[path][1]), KINDS[path][2]
    stranger = stack.tenant(roomy=False)
    where = f"{path}/{thing['id']}"
    for answer in (stranger.get(where), stranger.put(where, json=change), stranger.delete(where),
                   stranger.get(f"{where}/versions"), stranger.get(f"{where}/versions/1"), stranger.get(f"{where}/uses")):
        problem(answer, 404)
    assert thing["id"] not in [one["id"] for one in checked(stranger.get(path), 200).json()[plural(path)]]
    kind = next(iter(checked(api.get(where), 200).json()))
    assert checked(api.get(where), 200).json()[kind] == thing


def test_nobody_names_what_another_tenant_has(stack, api):
    stranger = stack.tenant(roomy=False)
    theirs = {"agent": agent(stranger), "tool": tool(stranger), "provider": provider(stranger)}
    refused = api.post("agents", json={"name": "a", "llm_provider_id": theirs["provider"],
                                       "config": {"tools": [theirs["tool"]]}})
    assert fault_paths(refused) == ["llm_provider_id", "config.tools[0]"]
    refused = api.post("crews", json={"name": "c", "agent_ids": [theirs["agent"]], "config": {
        "manager_llm": {"llm_provider_id": theirs["provider"]}}})
    assert fault_paths(refused) == ["agent_ids[0]", "config.manager_llm.llm_provider_id"]


def test_changes_are_in_the_audit_log(stack, api):
    made = make(api, "agents", name="watched")
    checked(api.put(f"agents/{made['id']}", json={"description": "more"}), 200)
    checked(api.delete(f"agents/{made['id']}"), 204)
    rows = stack.sql("SELECT action, actor->>'user', metadata->>'name' FROM control.audit_outbox "
                     "WHERE tenant = %s AND resource_id = %s ORDER BY id", api.tenant, made["id"])
    assert rows == [(f"agent.{what}", api.user_id, "watched") for what in ("create", "update", "delete")]


def test_viewers_read_and_editors_write(stack, admin, editor):
    viewer = stack.user(admin, "viewer")
    made = make(editor, "agents", name="for all to see")
    checked(viewer.get(f"agents/{made['id']}"), 200)
    for path in ("agents", "crews", "tools", "llm-providers"):
        checked(viewer.get(path), 200)
        problem(viewer.post(path, json={"name": "no"}), 403)
    problem(viewer.delete(f"agents/{made['id']}"), 403)


# ---- references, uses, deletion ------------------------------------------------------------------

def test_what_is_used_stays_and_its_users_are_named(api):
    p, t = provider(api), tool(api)
    a = agent(api, name="user agent", llm_provider_id=p, config={"tools": [t]})
    c = make(api, "crews", name="user crew", agent_ids=[a], config={"tasks": [task("t", a)]})["id"]
    assert checked(api.get(f"tools/{t}"), 200).json()["tool"]["uses"] == 1
    assert checked(api.get(f"tools/{t}/uses"), 200).json()["uses"] == [
        {"type": "agent", "id": a, "name": "user agent", "published": False}]
    for where, user in ((f"tools/{t}", "user agent"), (f"llm-providers/{p}", "user agent"), (f"agents/{a}", "user crew")):
        errors = problem(api.delete(where), 409)["errors"]
        assert len(errors) == 1 and user in errors[0]["message"], errors
        checked(api.put(where, json={"state": "archived"}), 200)
    checked(api.delete(f"crews/{c}"), 204)
    checked(api.delete(f"agents/{a}"), 204)
    checked(api.delete(f"tools/{t}"), 204)
    checked(api.delete(f"llm-providers/{p}"), 204)


def tool_flow(tool_id):
    return {"nodes": [{"id": "start", "type": "start"}, {"id": "t", "type": "tool", "data": {"tool_id": tool_id}}],
            "edges": [{"id": "e", "source": "start", "target": "t"}]}


def test_a_published_flow_holds_what_it_uses_and_a_draft_does_not(stack, api):
    used, drafted = tool(api, "used"), tool(api, "drafted")
    flow = checked(api.post("flows", json={"name": "the flow", **tool_flow(used)}), 201).json()["flow"]["id"]
    checked(api.post(f"flows/{flow}/publish", json={}), 201)
    checked(api.put(f"flows/{flow}", json=tool_flow(drafted)), 200)
    assert checked(api.get(f"tools/{used}/uses"), 200).json()["uses"] == [
        {"type": "flow", "id": flow, "name": "the flow", "published": True}]
    assert [use["published"] for use in checked(api.get(f"tools/{drafted}/uses"), 200).json()["uses"]] == [False]
    assert "the flow" in problem(api.delete(f"tools/{used}"), 409)["errors"][0]["message"]
    checked(api.delete(f"tools/{drafted}"), 204)
    # a private flow has no name for whom it is hidden from
    checked(api.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    editor = stack.user(api, "editor")
    assert [use["name"] for use in checked(editor.get(f"tools/{used}/uses"), 200).json()["uses"]] == ["a private flow"]
    assert "the flow" not in problem(editor.delete(f"tools/{used}"), 409)["errors"][0]["message"]
    checked(api.delete(f"flows/{flow}"), 204)
    assert checked(api.get(f"tools/{used}"), 200).json()["tool"]["uses"] == 0
    checked(api.delete(f"tools/{used}"), 204)


def test_a_user_that_names_something_else_lets_go(api):
    first, second = tool(api, "first"), tool(api, "second")
    a = agent(api, config={"tools": [first]})
    checked(api.put(f"agents/{a}", json={"config": {"tools": [second]}}), 200)
    checked(api.delete(f"tools/{first}"), 204)
    problem(api.delete(f"tools/{second}"), 409)
    assert fault_paths(api.put(f"agents/{a}", json={"config": {"tools": [second, first]}})) == ["config.tools[1]"]
    assert fault_paths(api.put(f"agents/{a}", json={"llm_provider_id": second})) == ["llm_provider_id"]   # another kind
    checked(api.put(f"agents/{a}", json={"llm_provider_id": None}), 200)


def test_many_users_are_named_as_far_as_they_fit(api):
    t = tool(api)
    for n in range(30):
        agent(api, f"agent {n:02} " + "ü" * 150, config={"tools": [t]})
    body = problem(api.delete(f"tools/{t}"), 409)
    assert 5 <= len(body["errors"]) < 30 and "of 30 are named" in body["detail"]


def test_deleting_and_naming_at_once_leaves_nothing_dangling(stack, api):
    for round_ in range(5):
        t = tool(api, f"wanted {round_}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            deleted = pool.submit(api.delete, f"tools/{t}")
            named = pool.submit(api.post, "agents", json={"name": f"wants {round_}", "config": {"tools": [t]}})
        assert sorted([deleted.result().status_code, named.result().status_code]) in ([204, 422], [201, 409])


def test_failover_makes_no_circle(api):
    a = provider(api, "a")
    b = provider(api, "b", failover=[a])
    c = provider(api, "c", failover=[b, a])
    base = {"base_url": "http://vllm.example.org"}
    assert fault_paths(api.put(f"llm-providers/{a}", json={"config": {**base, "failover": [a]}})) == ["config.failover[0]"]
    assert fault_paths(api.put(f"llm-providers/{a}", json={"config": {**base, "failover": [c]}})) == ["config.failover[0]"]
    assert fault_paths(api.put(f"llm-providers/{a}", json={"config": {**base, "failover": [some_id()]}})) == [
        "config.failover[0]"]
    problem(api.delete(f"llm-providers/{a}"), 409)
    free = provider(api, "free")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:     # each alone would be right
        codes = sorted(answer.status_code for answer in pool.map(
            lambda pair: api.put(f"llm-providers/{pair[0]}", json={"config": {**base, "failover": [pair[1]]}}),
            ((a, free), (free, a))))
    assert codes == [200, 422]


# ---- crews ---------------------------------------------------------------------------------------

def test_rules_of_crews_name_their_places(api):
    one, two, out = agent(api, "one"), agent(api, "two"), agent(api, "out")

    def paths(**body):
        return fault_paths(api.post("crews", json={"name": some_id(), "agent_ids": [one, two], **body}))
    assert paths(config={"tasks": [task("t")]}) == ["config.tasks[0].agent_id"]
    assert paths(config={"tasks": [task("t", out)]}) == ["config.tasks[0].agent_id"]
    assert paths(config={"tasks": [task("a", one, context=["b"]), task("b", two, context=["a", "b"])]}) == [
        "config.tasks[0].context[0]", "config.tasks[1].context[1]"]
    assert paths(config={"tasks": [task("a", one), task("a", one)]}) == ["config.tasks[1].name"]
    assert paths(agent_ids=[one, one.upper()]) == ["agent_ids[1]"]
    assert paths(collaboration_pattern="hierarchical") == ["config"]
    assert paths(collaboration_pattern="hierarchical", config={"manager_agent_id": one}) == ["config.manager_agent_id"]
    assert paths(config={"tasks": [task("a", one, schema={"type": "strin"}), task("b", one, condition="{{ .a | }}"),
                                   task("c", one, condition="plain")]}) == [
        "config.tasks[0].schema", "config.tasks[1].condition", "config.tasks[2].condition"]
    problem(api.post("crews", json={"name": "c", "agent_ids": []}), 400)
    made = make(api, "crews", name="good", agent_ids=[one, two], collaboration_pattern="hierarchical", config={
        "manager_agent_id": out, "tasks": [task("a"), task("b", two, context=["a"], condition="{{ .a == 1 }}",
                                                           schema={"type": "object"})]})
    # a change is judged with what stays
    assert fault_paths(api.put(f"crews/{made['id']}", json={"collaboration_pattern": "sequential"})) == [
        "config.tasks[0].agent_id"]
    assert fault_paths(api.put(f"crews/{made['id']}", json={"agent_ids": [one]})) == ["config.tasks[1].agent_id"]


# ---- private addresses ---------------------------------------------------------------------------

def test_private_addresses_are_an_admins_to_open(admin, editor):
    config = {"base_url": "http://10.1.2.3:8000", "allow_private": True}
    body = {"name": "inside", "provider_type": "vllm", "config": config}
    problem(editor.post("llm-providers", json=body), 403)
    where = f"llm-providers/{make(admin, 'llm-providers', **body)['id']}"
    checked(editor.put(where, json={"description": "may be told"}), 200)
    checked(editor.put(where, json={"config": {**config, "timeout_s": 5}}), 200)
    problem(editor.put(where, json={"config": {**config, "base_url": "http://10.9.9.9"}}), 403)     # led elsewhere
    problem(editor.put(where, json={"config": {"base_url": config["base_url"]}}), 403)
    http = {"kind": "http", "url": "http://10.1.2.3/x", "egress": {"hosts": ["10.1.2.3"], "allow_private": True}}
    problem(editor.post("tools", json={"name": "inside", "execution_config": http}), 403)
    where = f"tools/{make(admin, 'tools', name='inside', execution_config=http)['id']}"
    checked(editor.put(where, json={"execution_config": {**http, "timeout_s": 3}}), 200)
    problem(editor.put(where, json={"execution_config": {**http, "url": "http://10.1.2.3/y"}}), 403)
    plain = {**http, "egress": {"hosts": ["10.1.2.3"]}}
    problem(editor.put(where, json={"execution_config": plain}), 403)
    checked(admin.put(where, json={"execution_config": plain}), 200)
    problem(editor.put(where, json={"execution_config": http}), 403)


def test_old_versions_make_room(stack, admin):
    """Two hundred versions are kept of a thing; more would let one editor fill the disk of all."""
    agent = checked(admin.post("agents", json={"name": "many"}), 201).json()["agent"]["id"]
    stack.sql(f"UPDATE t_{admin.tenant}.resources SET version = 250 WHERE id = %s", agent)
    checked(admin.put(f"agents/{agent}", json={"description": "once more"}), 200)
    versions = checked(admin.get(f"agents/{agent}/versions"), 200).json()
    assert [row["version"] for row in versions["versions"]] == [251] and versions["total"] == 1
