"""docs/guides/gateway.md, typed word for word."""

from kit.guide import Guide


def test_the_page_does_what_it_says(stack, tmp_path):
    Guide("gateway.md").run(tmp_path, stack.urls["web"])
