"""A tenant that has one of everything, for tests that walk all operations."""

from kit.client import checked
from kit.exports import export
from kit.flows import Flow, ex
from kit.waiting import wait_until

OUT = "import pathlib\npathlib.Path('/work/out/report.txt').write_text('kept')\nprint('{}')"


def one(answer, *path):
    body = checked(answer, 200, 201, 202).json()
    for name in path:
        body = body[name]
    return body


class World:
    """Things made by `admin`, by kind; every name has `mark` in it."""

    def __init__(self, stack, admin, mark, receiver="http://127.0.0.1:9/nobody"):
        self.stack, self.admin, self.mark = stack, admin, mark
        self.ids = {}
        self.make_resources()
        self.make_flows()
        self.make_starts(receiver)
        self.make_people()
        self.ids["export"] = export(admin, kind="flow", flow_id=self.ids["flow"])["id"]

    def make(self, kind, path, member, **body):
        self.ids[kind] = one(self.admin.post(path, json={"name": f"{self.mark} {kind}", **body}), member, "id")

    def make_resources(self):
        self.make("provider", "llm-providers", "llm_provider", provider_type="demo")
        self.make("tool", "tools", "tool", input_schema={"type": "object"}, state="active",
                  execution_config={"kind": "code", "language": "python", "source": f"print('{{}}')  # {self.mark}"})
        self.make("agent", "agents", "agent", system_prompt=self.mark, llm_provider_id=self.ids["provider"],
                  config={"tools": [self.ids["tool"]]})
        self.make("crew", "crews", "crew", agent_ids=[self.ids["agent"]])
        self.ids["chat"] = one(self.admin.post("chat/sessions", json={"agent_id": self.ids["agent"], "title": f"{self.mark} chat"}), "session", "id")

    def make_flows(self):
        admin = self.admin
        flow = Flow().code("step", OUT).add("ask", "approval", message=self.mark, roles=["editor"]).output(ex(".nodes.ask"), after=("ask", "approved"))
        self.ids["flow"] = admin.create(flow, name=f"{self.mark} flow")
        checked(admin.post(f"flows/{self.ids['flow']}/publish", json={}), 201)
        self.ids["execution"] = one(admin.execute(self.ids["flow"], labels={"mark": self.mark}), "execution_id")
        find = lambda path, member: wait_until(  # noqa: E731
            lambda: checked(admin.get(path), 200).json()[member], f"something under {path}", 60)
        self.ids["approval"] = find(f"approvals?execution_id={self.ids['execution']}", "approvals")[0]["id"]
        self.ids["artifact"] = find(f"artifacts?execution_id={self.ids['execution']}", "artifacts")[0]["id"]

    def make_starts(self, receiver):
        self.make("budget", "budgets", "budget", scope="flow", target_id=self.ids["flow"], unit="tokens", limit=1000000)
        self.make("schedule", "schedules", "schedule", flow_id=self.ids["flow"], cron="0 0 1 1 *", timezone="UTC")
        self.make("webhook", "webhooks", "webhook", flow_id=self.ids["flow"])
        self.make("outgoing", "outgoing-webhooks", "outgoing_webhook", url=receiver, events=["failed"])
        self.ids["delivery"] = one(self.admin.post(f"outgoing-webhooks/{self.ids['outgoing']}/test"), "delivery", "id")

    def make_people(self):
        admin = self.admin
        self.ids["user"] = admin.user_id
        self.ids["invitation"] = one(admin.post("invitations", json={
            "email": f"{self.mark}@invited.test", "role": "viewer"}), "invitation", "id")
        self.ids["key"] = one(admin.post("api-keys", json={"name": f"{self.mark} key", "role": "viewer"}), "api_key", "id")
        self.ids["session"] = one(admin.get("auth/sessions"), "sessions")[0]["id"]

    def path_values(self, operation):
        """Values for what stands in an operation's path."""
        known = {"version": 1, "name": "hello", "tenant_id": self.admin.tenant, "delivery_id": self.ids["delivery"],
                 "kickoff_id": self.ids["execution"]}
        return {name: self.ids[operation.thing] if name == "id" else known[name] for name in operation.in_path}
