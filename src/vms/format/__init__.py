"""The recording format: containers, index, layout. Files only, no sockets."""
