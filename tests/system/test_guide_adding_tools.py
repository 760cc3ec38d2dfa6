"""docs/guides/adding-tools.md, typed word for word: what it prints, how much there is to type, how long it takes."""

import socket

from kit.guide import Guide

SECONDS = 300
CHARACTERS_A_MINUTE = 500     # of somebody who types 100 words of 5 letters a minute, or copies


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_page_does_what_it_says(stack, tmp_path, record_property):
    guide = Guide("adding-tools.md")
    machine = guide.run(tmp_path, stack.urls["web"], after="kill %1\n", PORT=str(free_port()))
    record_property("machine_seconds", round(machine, 2))
    record_property("characters", guide.characters)
    print(f"adding-tools.md: {machine:.1f} s of machine time, {guide.characters} characters to type")
    assert guide.characters / CHARACTERS_A_MINUTE * 60 < SECONDS and machine < 60
