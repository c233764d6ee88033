"""The vms command, one module per command group."""
