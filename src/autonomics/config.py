"""One table of settings; the only reader of the environment and of `autonomics.toml`.

A setting's value comes, first found first: from a command's option, from the environment
(`AUTONOMICS_` and its name in capitals), from the configuration file, from its default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

from autonomics.errors import InvalidConfig

PREFIX = "AUTONOMICS_"
GOOGLE_ISSUER = (
    "https://www.googleapis.com/robot/v1/metadata/x509/"
    "cloud-commerce-partner@system.gserviceaccount.com"
)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
METADATA_HOSTS = frozenset({"metadata.google.internal", "169.254.169.254"})
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:]{2,45}")
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+[A-Za-z0-9._~/-]*")


def _integer(low: int, high: int) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return check


def _seconds(low: float, high: float) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ValueError(f"seconds from {low:g} to {high:g}")
        return float(value)

    return check


def _one_of(*choices: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return value

    return check


def _text(value: object) -> object:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("a text that is not empty")
    return value


def _key(value: object) -> object:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError("a key as `api-keys create` printed it")
    return value


def _tenant(value: object) -> object:
    if not isinstance(value, str) or not _TENANT.fullmatch(value):
        raise ValueError("a tenant's id: 1 to 63 letters, digits, '.', '_', '-', the first no sign")
    return value


def _names(value: object) -> object:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(
        _is_host(name) for name in cast("list[object]", names)
    ):
        raise ValueError("host names without a port, separated by commas")
    return tuple(cast("list[str]", names))


def _is_host(name: object) -> bool:
    return isinstance(name, str) and _HOST.fullmatch(name) is not None


def _text_or_none(value: object) -> object:
    return value if value == "" else _text(value)


def is_guarded_url(url: str, plain: frozenset[str] = LOOPBACK) -> bool:
    """Tell whether nobody between can read what goes there: https, or http to a host of `plain`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    is_url = _URL.fullmatch(url) is not None and ".." not in url and bool(host)
    return is_url and (parts.scheme == "https" or host in plain)


def _url(*more_plain: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        url = str(_text(value)).rstrip("/")
        if not is_guarded_url(url, LOOPBACK.union(more_plain)):
            hosts = ", ".join(("this machine", *more_plain))
            raise ValueError(f"an https URL without a query, or http to {hosts}")
        return url

    return check


def _path(value: object) -> object:
    return Path(str(_text(str(value) if isinstance(value, Path) else value)))


def _origin(value: object) -> object:
    text = str(_text(value))
    if not all(c.isascii() and (c.isalnum() or c in ".-/") for c in text) or text != text.lower():
        raise ValueError("a lower-case host name, with a path or without, such as ledger.example")
    return text


@attrs.frozen
class Setting:
    """One row of the table: how it is checked, what it is when nobody says, what it is for.

    What is secret is in no message and no representation.
    """

    name: str
    check: Callable[[object], object]
    default: object
    about: str
    is_secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("data", _path, Path("autonomics-data"), "the data folder"),
    Setting("host", _text, "127.0.0.1", "address that the HTTP server binds"),
    Setting(
        "port", _integer(0, 65535), 8080, "port that the HTTP server binds; 0 takes a free one"
    ),
    Setting("store", _one_of("sqlite", "memory", "stdout"), "sqlite", "where receipts are kept"),
    Setting("origin", _origin, "autonomics.local", "host part of every log's origin"),
    Setting("log_format", _one_of("auto", "json", "text"), "auto", "auto: text on a terminal"),
    Setting("open_signals", _integer(1, 100_000), 256, "undecided signals that a tenant may hold"),
    Setting("parked_messages", _integer(1, 1_000_000), 1000, "messages that a sender may park"),
    Setting("parked_bytes", _integer(1, 2**40), 16 * 2**20, "bytes that a sender may park"),
    Setting("checkpoint_every_s", _seconds(0.05, 3600), 1.0, "how often grown logs are signed"),
    Setting("drain_s", _seconds(0, 60), 8.0, "time that requests in flight get at a stop"),
    Setting(
        "marketplace_keys",
        _path,
        None,
        "file of Google's public keys, a JWKS or its map of certificates; none: no sign-up",
    ),
    Setting("marketplace_audience", _text, None, "the product's domain, as sign-up tokens name it"),
    Setting("marketplace_issuer", _text, GOOGLE_ISSUER, "who issues sign-up tokens"),
    Setting(
        "google_credentials",
        _text_or_none,
        "",
        "metadata, a service account's key file, or none for local ends; empty: calls stay dry",
    ),
    Setting("google_run_url", _url(), "https://run.googleapis.com", "Cloud Run Admin API"),
    Setting(
        "google_monitoring_url", _url(), "https://monitoring.googleapis.com", "Cloud Monitoring API"
    ),
    Setting(
        "google_metadata_url",
        _url(*sorted(METADATA_HOSTS)),
        "http://metadata.google.internal",
        "metadata server, which gives tokens on Google's machines",
    ),
    Setting(
        "verify_wait_cap_s",
        _seconds(0, 86_400),
        86_400.0,
        "upper bound on a recipe's wait before it verifies; demo sets it low",
    ),
    Setting(
        "mcp_hosts",
        _names,
        (),
        "names beside this machine's that agents reach /mcp by, as behind a proxy; with commas",
    ),
    Setting("tenant", _tenant, None, "the tenant that an operator's agents ask for"),
    Setting("api_key", _key, None, "key that `mcp --url` sends to the server", is_secret=True),
)
_BY_NAME: Mapping[str, Setting] = {row.name: row for row in SETTINGS}


@attrs.frozen
class Settings:
    """The settings of one run; a field per row of `SETTINGS`, units in the names."""

    data: Path
    host: str
    port: int
    store: str
    origin: str
    log_format: str
    open_signals: int
    parked_messages: int
    parked_bytes: int
    checkpoint_every_s: float
    drain_s: float
    marketplace_keys: Path | None
    marketplace_audience: str | None
    marketplace_issuer: str
    google_credentials: str
    google_run_url: str
    google_monitoring_url: str
    google_metadata_url: str
    verify_wait_cap_s: float
    mcp_hosts: tuple[str, ...]
    tenant: str | None
    api_key: str | None = attrs.field(repr=False)

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the HTTP server."""
        return self.host in LOOPBACK


def load_settings(
    options: Mapping[str, object | None] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings from options, environment, file and defaults, in that order.

    Raises InvalidConfig naming the setting, where it was read, its constraint and its value.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {row.name: row.default for row in SETTINGS}
    sources: list[tuple[str, Mapping[str, object | None]]] = [
        (str(config), _read_file(config) if config else {}),
        ("the environment", _from_environment(environ)),
        ("the command line", options or {}),
    ]
    for where, values in sources:
        for name, value in values.items():
            if value is not None:
                found[name] = _checked(name, value, where)
    settings = Settings(**found)
    _expect_token_for_google(settings)
    return settings


def _expect_token_for_google(settings: Settings) -> None:
    """Refuse to send calls without a token anywhere but to this machine: they all would fail."""
    for url in (settings.google_run_url, settings.google_monitoring_url):
        if settings.google_credentials == "none" and urlsplit(url).hostname not in LOOPBACK:
            raise InvalidConfig(
                "expected google_run_url and google_monitoring_url to be on this machine where"
                f" google_credentials is none, got {url!r}"
            )


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = {PREFIX + row.name.upper(): row.name for row in SETTINGS}
    unknown = sorted(
        key for key in environ if key.startswith(PREFIX) and key not in names and environ[key]
    )
    if unknown:
        raise InvalidConfig(_unknown(unknown[0], names, "the environment"))
    return {names[key]: value for key, value in environ.items() if key in names and value}


def _read_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(f"can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} is not valid TOML: {error}") from None


def _checked(name: str, value: object, where: str) -> object:
    row = _BY_NAME.get(name)
    if row is None:
        raise InvalidConfig(_unknown(name, _BY_NAME, where))
    try:
        return row.check(value)
    except ValueError as error:
        shown = "another text" if row.is_secret else repr(value)
        raise InvalidConfig(f"expected {name} to be {error}, got {shown} in {where}") from None


def _unknown(name: str, known: Mapping[str, object], where: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown setting {name} in {where}{hint}"
