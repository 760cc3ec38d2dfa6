"""Builders of flow documents, so that a test shows only what matters to it."""


def of(node_id, rest=""):
    """The jq path of a node's output, for use inside an expression."""
    return f".nodes.{node_id}{rest}"


def ex(program):
    """A string that is one expression."""
    return "{{ " + program + " }}"


class Flow:
    """A flow document that grows by calls: Flow().add("t", "transform", value=1).edge("start", "t").

    A node is joined to the one before it unless `after` names others ("id" or ("id", "handle")).
    """

    def __init__(self, start=True):
        self.nodes, self.edges, self.schemas = [], [], {}
        self.last = None
        if start:
            self.add("start", "start", after=())

    def add(self, node_id, kind, after=None, **data):
        number = len(self.nodes)
        self.nodes.append({"id": node_id, "type": kind, "position": {"x": 200 * number, "y": 0}, "data": data})
        sources = after if after is not None else ([self.last] if self.last else [])
        if isinstance(sources, (str, tuple)) and sources and not isinstance(sources, list):
            sources = [sources]
        for source in sources:
            name, handle = source if isinstance(source, tuple) else (source, None)
            self.edge(name, node_id, handle)
        self.last = node_id
        return self

    def edge(self, source, target, handle=None):
        edge = {"id": f"{source}-{handle or 'out'}-{target}", "source": source, "target": target}
        if handle:
            edge["sourceHandle"] = handle
        self.edges.append(edge)
        return self

    def schema(self, **schemas):
        """input_schema=..., output_schema=..."""
        self.schemas.update(schemas)
        return self

    def output(self, value, after=None, node_id="out"):
        return self.add(node_id, "output", after=after, value=value)

    def code(self, node_id, source, language="python", after=None, **data):
        return self.add(node_id, "code", after=after, language=language, source=source, **data)

    def transform(self, node_id, value, after=None, **data):
        return self.add(node_id, "transform", after=after, value=value, **data)

    def document(self):
        return {"nodes": self.nodes, "edges": self.edges, **self.schemas}


def noop():
    """The smallest flow: its output is its input."""
    return Flow().output("{{ .inputs }}")


def five_nodes():
    """The five built-in nodes of the bench: transform, condition, two branches, join."""
    return (Flow()
            .transform("double", "{{ .inputs.n * 2 }}")
            .add("large", "condition", **{"if": ex(of("double") + " > 10")})
            .transform("yes", {"size": "large", "n": ex(of("double"))}, after=("large", "true"))
            .transform("no", {"size": "small", "n": ex(of("double"))}, after=("large", "false"))
            .add("both", "join", after=["yes", "no"], mode="any")
            .output(ex(of("both"))))


def chain(length, make):
    """start, then `length` nodes made by make(flow, id, number), one after the other, then an output."""
    flow = Flow()
    for number in range(length):
        make(flow, f"n{number}", number)
    return flow.output("done")


def effects(server, length=3, delay_s=0.0, **data):
    """A chain of http nodes whose visits `server` counts by execution and node."""
    def visit(flow, node_id, number):
        flow.add(node_id, "http", method="POST", url=server.effect_url(node_id, number, delay_s), **data)
    return chain(length, visit)
