"""Mails over a real SMTP conversation: what they hold, and what happens when the server is not of our mind."""

import base64
import pathlib
import re

import pytest

from kit.client import checked
from kit.mail import MailServer
from kit.people import accept, invited
from kit.stack import Stack
from kit.waiting import holds_for, wait_until

pytestmark = pytest.mark.long

PUBLIC = "https://flows.example.test/"
USER, SECRET = "mailer", "not-to-be-logged"


@pytest.fixture(scope="module")
def server():
    with MailServer() as running:
        yield running


@pytest.fixture(scope="module")
def mailing(server):
    """A stack that sends its mails to that server."""
    url = server.url.replace("://", f"://{USER}:{SECRET}@")
    with Stack("mailing", env={"WINDLASS_SMTP_URL": url, "WINDLASS_MAIL_FROM": "windlass@example.test",
                               "WINDLASS_PUBLIC_URL": PUBLIC}) as running:
        yield running


@pytest.fixture
def host(mailing):
    return mailing.tenant()


def waiting(stack, tenant):
    return stack.sql("SELECT tries, due > now() FROM control.mail_outbox WHERE tenant = %s ORDER BY id", tenant)


def test_an_invitation_is_mailed_and_its_link_works(mailing, server, host):
    email = f"guest@{host.slug}.test"
    answer = invited(host, email, "editor")
    letter = server.await_letter(email)
    assert letter.sender == "windlass@example.test" and letter.recipients == [email]
    assert letter.message["To"] == email and letter.message["From"] == "windlass@example.test"
    assert letter.message["Date"] and letter.message["Message-ID"].endswith("@example.test>")
    links = re.findall(r"https?://\S+", letter.text)
    assert links == [answer["link"]] == [f"{PUBLIC}invite#{answer['token']}"]
    checked(accept(mailing, links[0].partition("#")[2]), 201)
    wait_until(lambda: not waiting(mailing, host.tenant), "the outbox to be empty", 10)
    assert answer["token"] not in mailing.log("scheduler-1")         # a link is logged only where no mail is sent
    assert len(server.of(email)) == 1
    proof = base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode()
    assert any(proof in command for command in server.commands)
    for name in ("scheduler-1", "web", "supervisor-1"):
        assert SECRET not in mailing.log(name)
    environment = {name: pathlib.Path(f"/proc/{pid}/environ").read_text() for name, pid in mailing.pids().items()}
    assert [name for name, text in environment.items() if SECRET in text] == ["scheduler-1"]


@pytest.mark.parametrize("name", [
    "Caf\u00e9 \u6771\u4eac \U0001f680" * 8, "plain", "a\r\nBcc: everybody@world.test", ".\r\n.\r\nMAIL FROM:<x@y>",
    "=?UTF-8?Q?sly?=", "\u202eright to left", "x" * 200,
])
def test_whatever_a_tenant_is_called_its_mails_are_whole(mailing, server, host, name):
    checked(host.put("tenants/current", json={"name": name}), 200)
    email = f"guest@{host.slug}.test"
    answer = invited(host, email)
    letter = server.await_letter(email)
    shown = re.sub(r"[\x00-\x1f\x7f]", " ", name)
    assert letter.message["Subject"] == f"You are invited to {shown} on Windlass"
    assert letter.message["Bcc"] is None and letter.recipients == [email]
    assert answer["link"] in letter.text and "with the role viewer" in letter.text
    assert f'in the tenant "{shown}" (' in letter.text   # what he calls himself makes no lines of its own
    assert not any("x@y" in command for command in server.commands)


def test_a_server_that_is_busy_is_asked_again(mailing, server, host):
    email = f"patient@{host.slug}.test"
    server.answers["RCPT"].append("451 come back later")
    invited(host, email)
    wait_until(lambda: not server.answers["RCPT"], "the first attempt", 15)
    assert waiting(mailing, host.tenant) == [(1, True)]
    server.await_letter(email, seconds=40)
    wait_until(lambda: not waiting(mailing, host.tenant), "the outbox to be empty", 10)


def test_a_mailbox_that_does_not_exist_is_given_up(mailing, server, host):
    email = f"nobody@{host.slug}.test"
    server.answers["RCPT"].append("550 no such mailbox")
    invited(host, email)
    wait_until(lambda: f"a mail to {email} was given up" in mailing.log("scheduler-1"), "the log to say so", 15)
    wait_until(lambda: not waiting(mailing, host.tenant), "the outbox to be empty", 10)
    assert server.of(email) == []


def test_a_mail_whose_link_has_expired_or_was_replaced_is_not_sent(mailing, server, host):
    old, new = f"old@{host.slug}.test", f"new@{host.slug}.test"
    server.answers["RCPT"] += ["451 later"] * 2
    invited(host, old)
    first = invited(host, new)["token"]
    wait_until(lambda: not server.answers["RCPT"], "both first attempts", 15)
    stack_now = "UPDATE control.mail_outbox SET expires_at = now() - interval '1 s', due = now() WHERE recipient = %s"
    mailing.sql(stack_now, old)
    second = invited(host, new)["token"]
    letter = server.await_letter(new)
    assert second in letter.text and first not in letter.text
    wait_until(lambda: not waiting(mailing, host.tenant), "the outbox to be empty", 10)
    holds_for(lambda: not server.of(old) and len(server.of(new)) == 1, "no other mail", 2)


def test_a_reset_is_mailed_for_each_tenant_of_the_address(mailing, server, host):
    other, email = mailing.tenant(), f"two@{host.slug}.test"
    for admin in (host, other):
        mailing.sql("UPDATE control.app_user SET email = %s WHERE id = %s", email, admin.user_id)
    checked(mailing.api().post("auth/password-reset", json={"email": email}), 202)
    server.await_letter(email, 2)
    letters = server.of(email)
    assert {slug for slug in (host.slug, other.slug) for letter in letters if f"({slug})" in letter.text} \
        == {host.slug, other.slug}
    links = [re.search(r"https?://\S+", letter.text)[0] for letter in letters]
    assert len(set(links)) == 2 and all(link.startswith(f"{PUBLIC}reset#") for link in links)
