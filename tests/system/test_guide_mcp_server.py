"""docs/guides/mcp-server.md, typed word for word."""

from kit.guide import Guide


def test_the_page_does_what_it_says(stack, tmp_path):
    Guide("mcp-server.md").run(tmp_path, stack.urls["web"])
