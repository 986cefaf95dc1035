"""The `dfad` command: one file a command, nothing heavy imported until a command runs."""
