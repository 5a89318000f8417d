from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from autonomics.config import SETTINGS, Settings, load_settings
from autonomics.errors import InvalidConfig


def test_the_table_and_the_class_hold_the_same_settings_in_the_same_order() -> None:
    assert [row.name for row in SETTINGS] == [field.name for field in attrs.fields(Settings)]


def test_options_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    config = tmp_path / "autonomics.toml"
    config.write_text('port = 1\nhost = "localhost"\norigin = "ledger.example"\n')
    settings = load_settings(
        {"port": 3, "host": None},
        config=config,
        environ={"AUTONOMICS_PORT": "2", "AUTONOMICS_HOST": "::1"},
    )
    assert (settings.port, settings.host, settings.origin) == (3, "::1", "ledger.example")
    assert settings.store == "sqlite"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "expected port to be an integer from 0 to 65535, got 65536"),
        ({"port": True}, "expected port to be an integer"),
        ({"drain_s": "soon"}, "expected drain_s to be seconds from 0 to 60, got 'soon'"),
        ({"drain_s": float("nan")}, "expected drain_s to be seconds"),
        ({"store": "mysql"}, "one of sqlite, memory, stdout"),
        ({"origin": "Ledger"}, "expected origin to be a lower-case host name"),
        ({"host": " "}, "expected host to be a text that is not empty"),
        ({"prot": 1}, "unknown setting prot in the command line; did you mean port?"),
    ],
)
def test_a_bad_value_is_named_with_its_constraint(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message.replace("?", r"\?")):
        load_settings(options, environ={})


def test_an_unknown_environment_variable_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidConfig, match="did you mean AUTONOMICS_PORT"):
        load_settings(environ={"AUTONOMICS_PROT": "1"})


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="can't read .*absent.toml"):
        load_settings(config=tmp_path / "absent.toml", environ={})
    broken = tmp_path / "broken.toml"
    broken.write_text("port = ")
    with pytest.raises(InvalidConfig, match="broken.toml is not valid TOML"):
        load_settings(config=broken, environ={})


def test_numbers_from_the_environment_are_read_as_numbers() -> None:
    settings = load_settings(environ={"AUTONOMICS_DRAIN_S": "2.5", "AUTONOMICS_PORT": "0"})
    assert (settings.drain_s, settings.port) == (2.5, 0)
    assert settings.is_loopback
