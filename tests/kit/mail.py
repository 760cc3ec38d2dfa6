"""A mail server of our own on loopback, small but real: it speaks SMTP (RFC 5321) and keeps what it is given."""

import collections
import email
import email.policy
import re
import socketserver

from kit.http_server import LoopbackServer
from kit.waiting import wait_until

Letter = collections.namedtuple("Letter", "sender recipients message text")


class MailServer(LoopbackServer):
    """`answers` maps a command's first word to the reply lines it gives first, one a time, before it does its work."""

    def __init__(self):
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 30

            def handle(self):
                outer.converse(self.rfile, self.wfile)

        super().__init__(Handler)
        self.letters, self.answers, self.commands = [], collections.defaultdict(list), []
        self.url = f"smtp://127.0.0.1:{self.port}"

    def converse(self, lines, out):
        def say(text):
            out.write(text.encode() + b"\r\n")

        sender, recipients = None, []
        say("220 kit")
        while line := lines.readline().decode("utf-8", "replace").rstrip("\r\n"):
            word = line.split(" ")[0].upper()
            with self.lock:
                self.commands.append(line)
                refusal = self.answers[word].pop(0) if self.answers[word] else None
            if refusal:
                say(refusal)
            elif word == "EHLO":
                say("250-kit")
                say("250 AUTH PLAIN")
            elif word == "AUTH":
                say("334 ")
                with self.lock:
                    self.commands.append(lines.readline().decode().strip())
                say("235 known")
            elif word == "QUIT":
                say("221 bye")
                return
            elif word == "DATA":
                say("354 go on")
                body = b""
                while (piece := lines.readline()) != b".\r\n":
                    body += piece.removeprefix(b".") if piece.startswith(b"..") else piece
                self.keep(sender, recipients, body)
                sender, recipients = None, []
                say("250 kept")
            else:
                if word == "MAIL":
                    sender = re.search("<(.*?)>", line)[1]
                elif word == "RCPT":
                    recipients.append(re.search("<(.*?)>", line)[1])
                say("250 fine")

    def keep(self, sender, recipients, body):
        message = email.message_from_bytes(body, policy=email.policy.default)
        text = message.get_body(("plain",)).get_content()
        with self.lock:
            self.letters.append(Letter(sender, recipients, message, text))

    def of(self, address):
        with self.lock:
            return [letter for letter in self.letters if address in letter.recipients]

    def await_letter(self, address, count=1, seconds=30):
        """The newest letter to an address once there are `count`."""
        return wait_until(lambda: len(self.of(address)) >= count and self.of(address)[-1],
                          f"letter {count} to {address}", seconds)
