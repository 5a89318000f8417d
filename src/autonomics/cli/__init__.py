"""The command line: a table of commands, each of which asks the control plane's HTTP API."""
