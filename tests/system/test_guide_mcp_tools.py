"""docs/guides/mcp-tools.md, typed word for word."""

from kit.guide import Guide


def test_the_page_does_what_it_says(stack, tmp_path):
    Guide("mcp-tools.md").run(tmp_path, stack.urls["web"])
