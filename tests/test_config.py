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
        ({"google_credentials": " "}, "expected google_credentials to be a text that is not empty"),
        *(
            ({"google_run_url": url}, "expected google_run_url to be an https URL without a query")
            for url in (
                "http://run.googleapis.com",
                "http://metadata.google.internal",
                "https://",
                "https://u:p@run.googleapis.com",
                "https://run.googleapis.com?key=1",
                "https://run.googleapis.com#x",
                "https://run.googleapis.com/a/../b",
                "https://run.googleapis.com:x",
                "https://run googleapis.com",
                "https://127.0.0.1\\@run.googleapis.com",
                "ftp://127.0.0.1",
                "run.googleapis.com",
            )
        ),
        (
            {"google_metadata_url": "http://metadata.example"},
            "or http to this machine, 169.254.169.254, metadata.google.internal, got",
        ),
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


def test_the_apis_are_googles_own_unless_somebody_says_otherwise() -> None:
    settings = load_settings(environ={})
    assert settings.google_credentials == ""
    assert settings.google_run_url == "https://run.googleapis.com"
    assert settings.google_monitoring_url == "https://monitoring.googleapis.com"
    assert settings.google_metadata_url == "http://metadata.google.internal"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_calls_without_a_token_go_to_this_machine_alone(host: str) -> None:
    local = f"http://{host}:8085/"
    options = {"google_credentials": "none", "google_run_url": local}
    with pytest.raises(InvalidConfig, match="where google_credentials is none, got 'https://mon"):
        load_settings(options, environ={})
    settings = load_settings({**options, "google_monitoring_url": local}, environ={})
    assert settings.google_run_url == local.rstrip("/")
    with_token = load_settings({**options, "google_credentials": "metadata"}, environ={})
    assert with_token.google_run_url == local.rstrip("/")
