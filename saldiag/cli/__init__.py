"""The command line: click commands and flags, exit codes."""
