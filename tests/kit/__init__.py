"""What the Python tests share: the stack, a client of the API, flow builders, an effect server, the invariants."""
