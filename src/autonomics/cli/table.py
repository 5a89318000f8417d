"""The table of commands. A topic's module is imported only when the topic is asked for."""

from __future__ import annotations

from importlib import import_module

from autonomics.cli.command import Command, Topic

TOPICS: tuple[Topic, ...] = (
    Topic("init", "make a data folder with its signing key, store and first admin key"),
    Topic("serve", "run the control plane until it is told to stop"),
    Topic("demo", "see the whole of it work on this machine"),
    Topic("tenants", "create, list, show, activate, suspend, resume, close, readmit tenants"),
    Topic("api-keys", "create, list, revoke the keys of people and services"),
    Topic("signal", "submit a signal and print the decision"),
    Topic("receipts", "print a log's receipts, or follow them"),
    Topic("explain", "tell the story of the signal that a receipt belongs to"),
    Topic("line", "look at the stop-the-line latch, stop it, clear it"),
    Topic("export", "write a tenant's log as a bundle that a stranger can verify"),
    Topic("verify", "verify a bundle, a file of receipts or a proof, offline"),
    Topic("signing-keys", "print the key under which a tenant's checkpoints are signed"),
    Topic("subjects", "find what names a person, and erase it"),
    Topic("backup", "write a copy of the store that verifies, also while it is served"),
    Topic("restore", "put a backup in the store's place"),
    Topic("store", "bring the store's file forward from an earlier version"),
    Topic("tree", "draw the tree of supervisors and actors, or look at one"),
    Topic("recipes", "list, show and test recipes"),
    Topic("mcp", "speak MCP on stdin and stdout, for agents"),
    Topic("support-model", "print what support each price plan comes with"),
)


def read_commands(topic: Topic) -> tuple[Command, ...]:
    """Import a topic's module and return its commands: one without a verb, or one per verb."""
    module = import_module(f"autonomics.cli.{topic.word.replace('-', '_')}")
    commands: tuple[Command, ...] = module.COMMANDS
    return commands
