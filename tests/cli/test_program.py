from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from autonomics.__main__ import main
from autonomics.cli.command import Command, Topic
from autonomics.cli.program import make_parser
from autonomics.cli.table import TOPICS, read_commands

from .conftest import Shell, clean_environ, expect_one_line, run_process

HEAVY = ("cryptography", "hypercorn", "quart", "sqlite3", "trio", "httpx2")
LIMIT = "expected an integer from 1 to 9007199254740991"
COMMANDS = [(topic, command) for topic in TOPICS for command in read_commands(topic)]
NAMES = [" ".join(filter(None, (topic.word, command.verb))) for topic, command in COMMANDS]
FOLDERLESS = ("recipes", "verify", "demo", "serve", "mcp", "support-model")
WITH_DATA = [name for name in NAMES if not name.startswith(FOLDERLESS)]


def test_the_help_names_every_command(shell: Shell) -> None:
    code, out, err = shell.run("--help")
    assert (code, err) == (0, "")
    for topic in TOPICS:
        assert f"  {topic.word}" in out
    assert shell.run() == (0, out, "")


@pytest.mark.parametrize("script", ["['--help']", "['tenants', '--help']", "['verify', '--help']"])
def test_help_imports_nothing_heavy(script: str) -> None:
    program = (
        "import json, sys\n"
        "from autonomics.__main__ import main\n"
        "try:\n"
        f"    main({script})\n"
        "except SystemExit:\n"
        "    pass\n"
        "json.dump(sorted(sys.modules), sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environ(),
    )
    assert done.stdout.startswith("usage: autonomics")
    assert not set(HEAVY) & set(json.loads(done.stderr))


@pytest.mark.parametrize(("topic", "command"), COMMANDS, ids=NAMES)
def test_each_command_says_what_it_does_and_takes(
    topic: Topic, command: Command, shell: Shell
) -> None:
    words = [word for word in (topic.word, command.verb) if word is not None]
    with pytest.raises(SystemExit) as ended:
        shell.run(*words, "--help")
    assert ended.value.code == 0
    said = " ".join(shell.capsys.readouterr().out.split())
    assert said.startswith(f"usage: autonomics {' '.join(words)} ")
    assert command.about[1:] in said


@pytest.mark.parametrize("name", WITH_DATA)
def test_each_command_on_a_folder_takes_data_config_and_json(name: str) -> None:
    command = COMMANDS[NAMES.index(name)][1]
    text = make_parser(command, name).format_help()
    assert all(option in text for option in ("--data DIR", "--config FILE", "--json"))


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if len(read_commands(topic)) > 1])
def test_the_help_of_a_topic_names_its_verbs(topic: Topic, shell: Shell) -> None:
    code, out, err = shell.run(topic.word, "--help")
    assert (code, err) == (0, "")
    assert all(f"  {command.verb}" in out for command in read_commands(topic))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("tenant",), "unknown command tenant; did you mean tenants?"),
        (("xyzzy",), "unknown command xyzzy; see autonomics --help"),
        (("--verbose",), "unknown option --verbose; see autonomics --help"),
        (("tenants", "creat"), "unknown command tenants creat; did you mean create?"),
        (("line", "x"), "unknown command line x; known are status, stop, clear"),
        (("line",), "expected autonomics line to be followed by one of status, stop, clear"),
        (
            ("receipts", "--folow"),
            "unknown option --folow of autonomics receipts; did you mean --follow?",
        ),
        (
            ("receipts",),
            "the following arguments are required: TENANT; see autonomics receipts --help",
        ),
        (
            ("receipts", "acme", "--limit", "0"),
            f"argument --limit: {LIMIT}, got '0'; see autonomics receipts --help",
        ),
        (
            ("serve", "--port", "x"),
            "expected port to be an integer from 0 to 65535, got 'x' in the command line",
        ),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    words: tuple[str, ...], line: str, shell: Shell
) -> None:
    assert expect_one_line(*shell.run(*words)) == (2, line)


def test_an_unknown_setting_in_the_environment_is_misuse_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMICS_PROT", "1")
    code, line = shell.fail("tenants", "list")
    assert code == 2
    assert line.startswith("unknown setting AUTONOMICS_PROT in the environment; did you mean")


def test_a_value_after_two_dashes_is_no_option(shell: Shell) -> None:
    code, line = expect_one_line(*shell.run("verify", "--", "--no-such-path"))
    assert (code, line) == (2, "can't read --no-such-path: No such file or directory")


def test_the_version_is_that_of_the_distribution(shell: Shell) -> None:
    code, out, _ = shell.run("--version")
    assert code == 0
    assert out.split()[0] == "autonomics"
    assert out.split()[1][0].isdigit()


def test_commands_that_only_read_make_no_folder(shell: Shell) -> None:
    for words in (("tenants", "list"), ("line", "status"), ("tree",), ("receipts", "platform")):
        code, line = shell.fail(*words)
        assert code == 1
        assert line == f"there is no data folder at {shell.data}: run `autonomics init` first"
    assert not shell.data.exists()


Break = Callable[[BaseException], None]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Put a command in the place of `tree` that runs into what the argument says."""

    def put(error: BaseException) -> None:
        def run(_options: Namespace) -> None:
            raise error

        module = types.ModuleType("autonomics.cli.tree")
        command = Command(None, "break", lambda _parser: None, run)
        vars(module)["COMMANDS"] = (command,)
        monkeypatch.setitem(sys.modules, "autonomics.cli.tree", module)

    return put


def test_the_unforeseen_is_one_line_with_its_type_and_exit_code_70(
    shell: Shell, broken: Break
) -> None:
    broken(ZeroDivisionError("a\nb"))
    code, line = expect_one_line(*shell.run("tree"))
    assert (code, line) == (70, "unforeseen ZeroDivisionError: a b")


def test_debug_shows_where_an_error_comes_from(shell: Shell, broken: Break) -> None:
    broken(ZeroDivisionError("zero"))
    code, _, err = shell.run("tree", "--debug")
    assert code == 70
    assert "Traceback" in err
    assert err.endswith("autonomics: unforeseen ZeroDivisionError: zero\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("by a nursery", [KeyboardInterrupt()]), 130),
        (BrokenPipeError(), 141),
        (ExceptionGroup("by a nursery", [BrokenPipeError()]), 141),
    ],
)
def test_an_interrupt_and_a_reader_that_left_are_quiet(
    shell: Shell, broken: Break, error: BaseException, code: int
) -> None:
    broken(error)
    assert shell.run("tree") == (code, "", "")


def test_a_single_error_in_a_group_is_told_as_itself(shell: Shell, broken: Break) -> None:
    broken(ExceptionGroup("by a nursery", [FileNotFoundError(2, "No such file", "x.json")]))
    assert expect_one_line(*shell.run("tree")) == (1, "x.json: no such file")


def test_a_closed_pipe_ends_a_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "autonomics", "recipes", "show", "run.oom_memory_limit"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=clean_environ(),
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_base_install_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['httpx2'] = None\n"
        "from autonomics.__main__ import main\n"
        f"sys.exit(main(['tenants', 'list', '--data', {str(tmp_path)!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environ(),
    )
    code, line = expect_one_line(done.returncode, done.stdout, done.stderr)
    assert code == 1
    assert line.startswith("this command needs httpx2: install it with pip install")


def test_the_module_runs_as_a_program() -> None:
    done = run_process("--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_main_takes_its_words_from_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["autonomics", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("autonomics ")
