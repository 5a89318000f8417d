"""The program: finds the command, runs it, and turns what goes wrong into one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from autonomics.cli.command import Command, Topic
from autonomics.cli.parser import USAGE, CommandParser, did_you_mean
from autonomics.cli.table import TOPICS, read_commands
from autonomics.errors import AutonomicsError, CommandFailed, StartFailed

PROGRAM = "autonomics"
UNFORESEEN = 70
INTERRUPTED = 130
PIPE_CLOSED = 141
SERVER_PACKAGES = frozenset(
    {
        "cryptography",
        "httpx2",
        "hypercorn",
        "joserfc",
        "quart",
        "quart_trio",
        "re2",
        "structlog",
        "werkzeug",
    }
)


def run_program(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing foreseen ends in a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_debugging = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return PIPE_CLOSED
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last place that can still say it in one line
        return _report(error, is_debugging=is_debugging)
    return code


def _run(words: list[str]) -> int:
    first = words[0] if words else "--help"
    if first in ("--help", "-h"):
        sys.stdout.write(_describe_program())
        return 0
    if first == "--version":
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        return 0
    topic = next((row for row in TOPICS if row.word == first), None)
    if topic is None:
        kind = "option" if first.startswith("-") else "command"
        hint = did_you_mean(first, (row.word for row in TOPICS))
        raise CommandFailed(f"unknown {kind} {first}{hint or f'; see {PROGRAM} --help'}", USAGE)
    return _run_topic(topic, words[1:])


def _run_topic(topic: Topic, words: list[str]) -> int:
    commands = read_commands(topic)
    name = f"{PROGRAM} {topic.word}"
    if commands[0].verb is None:
        return _run_command(commands[0], name, words)
    verbs = {command.verb: command for command in commands if command.verb is not None}
    first = words[0] if words else ""
    if first in ("--help", "-h"):
        sys.stdout.write(_describe_topic(topic, commands))
        return 0
    if first not in verbs:
        known = ", ".join(verbs)
        if not first or first.startswith("-"):
            raise CommandFailed(f"expected {name} to be followed by one of {known}", USAGE)
        hint = did_you_mean(first, verbs) or f"; known are {known}"
        raise CommandFailed(f"unknown command {topic.word} {first}{hint}", USAGE)
    return _run_command(verbs[first], f"{name} {first}", words[1:])


def _run_command(command: Command, name: str, words: list[str]) -> int:
    options = make_parser(command, name).parse_words(words)
    return command.run(options) or 0


def make_parser(command: Command, name: str) -> CommandParser:
    """Make the parser of one command."""
    about = command.about
    parser = CommandParser(name, f"{about[:1].upper()}{about[1:]}.")
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def _describe_program() -> str:
    rows = "".join(f"  {topic.word:<14}{topic.about}\n" for topic in TOPICS)
    return (
        f"usage: {PROGRAM} COMMAND ...\n\n"
        "Supervised actors, and a control plane whose every decision leaves a receipt.\n\n"
        f"commands:\n{rows}\n"
        f"options:\n  --help        this text; {PROGRAM} COMMAND --help says more\n"
        "  --version     the version\n"
        "  --debug       show where an error comes from\n"
    )


def _describe_topic(topic: Topic, commands: tuple[Command, ...]) -> str:
    name = f"{PROGRAM} {topic.word}"
    rows = "".join(f"  {command.verb:<14}{command.about}\n" for command in commands)
    about = f"{topic.about[:1].upper()}{topic.about[1:]}."
    return f"usage: {name} VERB ...\n\n{about}\n\nverbs:\n{rows}\n{name} VERB --help says more.\n"


def _report(error: BaseException, *, is_debugging: bool) -> int:
    """Write one line on stderr and return the exit code."""
    error = _unwrap(error)
    if is_debugging:
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            _forget_output()
            return PIPE_CLOSED
        case CommandFailed(exit_code=code):
            line = str(error)
        case StartFailed():
            code, line = 1, f"the control plane did not start: {error}"
        case AutonomicsError():
            code, line = 1, str(error)
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] in SERVER_PACKAGES:
            code = 1
            line = f"this command needs {name}: install it with pip install 'autonomics[server]'"
        case OSError(strerror=str(reason)):
            code, line = 1, _describe_os_error(reason, error)
        case _:
            code, line = UNFORESEEN, f"unforeseen {type(error).__name__}: {error}"
    with suppress(BrokenPipeError):
        print(f"{PROGRAM}: {' '.join(line.split())}", file=sys.stderr, flush=True)
    return code


def _describe_os_error(reason: str, error: OSError) -> str:
    return reason.lower() if error.filename is None else f"{error.filename}: {reason.lower()}"


def _unwrap(error: BaseException) -> BaseException:
    """Take the error out of the groups that nurseries put around a single one."""
    inside: tuple[BaseException, ...] = ()
    group: object = error
    if isinstance(group, BaseExceptionGroup):
        inside = cast("BaseExceptionGroup[BaseException]", group).exceptions
    return _unwrap(inside[0]) if len(inside) == 1 else error


def _forget_output() -> None:
    """Let the interpreter's last flush go nowhere: the reader has left."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
