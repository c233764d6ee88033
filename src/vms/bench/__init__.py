"""``vms bench``: our ingest against the floor and against its peers, on the same streams in the same run."""
