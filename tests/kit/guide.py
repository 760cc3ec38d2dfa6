"""Pages of docs/guides whose commands a test types word for word."""

import os
import pathlib
import re
import signal
import subprocess
import time

PAGES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guides"


class Guide:
    """A page: `typed` are its bash blocks, `expected` is what its text blocks say that they print."""

    def __init__(self, name):
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (PAGES / name).read_text(), re.MULTILINE | re.DOTALL)
        self.typed = [text for language, text in blocks if language == "bash"]
        self.expected = "".join(text for language, text in blocks if language == "text")
        self.characters = sum(map(len, self.typed))

    def run(self, folder, url, after="", timeout=60, **env):
        """Type it into a shell; fails unless what is printed is what the page says. The seconds that it took."""
        began = time.monotonic()
        with subprocess.Popen(["bash", "-eu"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, start_new_session=True,
                              env={"PATH": os.environ["PATH"], "WINDLASS_URL": url, **env}) as shell:
            try:
                printed, complaints = shell.communicate("".join(self.typed) + after, timeout=timeout)
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)
        assert (printed, shell.returncode) == (self.expected, 0), f"printed: {printed!r}, said: {complaints}"
        return time.monotonic() - began
