"""Messages on the bus: Protocol Buffers, their generated code, and every subject."""
