"""docs/guides/chat.md, typed word for word."""

from kit.guide import Guide


def test_the_page_does_what_it_says(stack, tmp_path):
    Guide("chat.md").run(tmp_path, stack.urls["web"])
