"""Asking models by lib/llm itself, without a platform around it (build/bin/llm-ask)."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Asker:
    """One process that asks; what it learns of providers it keeps."""

    def __init__(self):
        folder = ROOT / os.environ.get("TEST_BIN_DIR", "build/bin")
        self.process = subprocess.Popen([folder / "llm-ask"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def raw(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, chain, text="What?", **more):
        """A question to a chain of providers ({"type", "base_url", ...} or several of them)."""
        chain = chain if isinstance(chain, list) else [chain]
        return self.raw({"chain": chain, "messages": [{"role": "user", "text": text}], **more})
