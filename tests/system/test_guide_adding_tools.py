"""docs/guides/adding-tools.md, typed word for word: what it prints, how much there is to type, how long it takes."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guides" / "adding-tools.md"
SECONDS = 300
CHARACTERS_A_MINUTE = 500     # of somebody who types 100 words of 5 letters a minute, or copies


def blocks():
    """The page's blocks in their order, as (language, text)."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_page_does_what_it_says(stack, tmp_path, record_property):
    typed = [text for language, text in blocks() if language == "bash"]
    expected = "".join(text for language, text in blocks() if language == "text")
    began = time.monotonic()
    with subprocess.Popen(["bash", "-eu"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True, env={"PATH": os.environ["PATH"], "WINDLASS_URL": stack.urls["web"],
                                                                  "PORT": str(free_port())}) as shell:
        try:
            printed, complaints = shell.communicate("".join(typed) + "kill %1\n", timeout=60)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
    machine = time.monotonic() - began
    characters = sum(map(len, typed))
    record_property("machine_seconds", round(machine, 2))
    record_property("characters", characters)
    print(f"adding-tools.md: {machine:.1f} s of machine time, {characters} characters to type")
    assert (printed, shell.returncode) == (expected, 0), complaints
    assert characters / CHARACTERS_A_MINUTE * 60 < SECONDS and machine < 60
