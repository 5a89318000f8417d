"""`serve` as a process, with and without somebody who carries out its calls."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_app  # pyright: ignore[reportUnknownVariableType]

from autonomics.testing.local_cloud import LocalCloud

from .conftest import Serve, ServerProcess, Shell

NAME = "projects/shop/locations/europe-west1/services/checkout"
AWAY = "http://127.0.0.1:9"
"""The port of a service that nobody runs any more."""


@asynccontextmanager
async def local_end(cloud: LocalCloud) -> AsyncGenerator[str]:
    """Serve the local cloud on a port and give its URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(serve_app, cast("Any", cloud.app), config))
        yield url
        nursery.cancel_scope.cancel()


def new_cloud() -> LocalCloud:
    cloud = LocalCloud(lambda: datetime.now(UTC))
    cloud.add_service(NAME, env={"API_KEY": "hunter2-hunter2"})
    return cloud


def write_kills(cloud: LocalCloud, folder: Path) -> list[str]:
    paths = [folder / f"kill-{number}.json" for number in range(2)]
    for path in paths:
        path.write_text(json.dumps(cloud.kill_entry(NAME, insert_id=path.stem)))
    return [str(path) for path in paths]


def write_config(folder: Path, **settings: str) -> Path:
    path = folder / "autonomics.toml"
    path.write_text("".join(f"{name} = {json.dumps(text)}\n" for name, text in settings.items()))
    return path


def admin_key(shell: Shell) -> str:
    return str(shell.value("api-keys", "create", "--role", "admin")["secret"])


def receipts(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.value("receipts", "acme")["receipts"]
    return found


def health(server: ServerProcess, key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    found: dict[str, Any] = httpx2.get(f"{server.url}/health", headers=headers).json()
    return found


def test_without_credentials_nothing_acts_and_it_is_said(new_house: Shell, serve: Serve) -> None:
    key = admin_key(new_house)
    server = serve(new_house.data, "--port", "0").wait_ready()
    assert server.events[-1]["effectors"] == ["platform"]
    (dry,) = (event for event in server.events if event["event"] == "serve.dry")
    assert "run.oom_memory_limit" in dry["recipes"]
    seen = health(server, key)
    assert (seen["effectors"], seen["dry_recipes"]) == (["platform"], dry["recipes"])


async def test_with_credentials_a_kill_ends_in_one_patch_of_the_service(
    new_house: Shell, serve: Serve, tmp_path: Path
) -> None:
    cloud = new_cloud()
    kills = write_kills(cloud, tmp_path)

    def run_house(url: str) -> list[dict[str, Any]]:
        key = admin_key(new_house)
        new_house.say("tenants", "create", "acme")
        config = write_config(
            tmp_path, google_credentials="none", google_run_url=url, google_monitoring_url=url
        )
        server = serve(new_house.data, "--port", "0", "--config", str(config)).wait_ready()
        assert server.events[-1]["effectors"] == ["platform", "run"]
        assert "serve.dry" not in [event["event"] for event in server.events]
        seen = health(server, key)
        assert (seen["effectors"], seen["dry_recipes"]) == (["platform", "run"], [])
        for kill in kills:
            new_house.say("signal", "acme", kill)
        ended = server.wait_for("act.ended")
        assert (ended["result"], ended["detail"]) == ("done", "")
        assert server.end() == 0
        return [*server.events, *receipts(new_house)]

    async with local_end(cloud) as url:
        said = await trio.to_thread.run_sync(run_house, url)
    assert cloud.memory_of(NAME) == "1Gi"
    assert [effect.resource for effect in cloud.effects] == [NAME]
    assert [row["kind"] for row in said[-2:]] == ["intent", "outcome"]
    assert "hunter2" not in json.dumps(said)


async def test_an_end_that_is_away_leaves_a_decision_and_no_act(
    new_house: Shell, serve: Serve, tmp_path: Path
) -> None:
    kills = write_kills(new_cloud(), tmp_path)

    def run_house() -> list[dict[str, Any]]:
        new_house.say("tenants", "create", "acme")
        config = write_config(
            tmp_path, google_credentials="none", google_run_url=AWAY, google_monitoring_url=AWAY
        )
        server = serve(new_house.data, "--port", "0", "--config", str(config)).wait_ready()
        decided = [new_house.value("signal", "acme", kill) for kill in kills]
        assert server.end() == 0
        return [*decided, *receipts(new_house)]

    said = await trio.to_thread.run_sync(run_house)
    assert "intent" not in [row["kind"] for row in said[2:]]
    decision = said[1]["decision"]
    assert (decision["answer"], decision["code"]) == ("refuse", "inconclusive")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"google_credentials": "absent.json"}, "can't read absent.json: No such file"),
        ({"google_credentials": "none"}, "expected google_run_url and google_monitoring_url to be"),
        ({"google_run_url": "http://10.0.0.1"}, "expected google_run_url to be an https URL"),
        ({"google_credential": "none"}, "did you mean google_credentials?"),
    ],
)
def test_credentials_that_can_not_be_used_are_told_in_one_line(
    new_house: Shell, settings: dict[str, str], line: str, tmp_path: Path
) -> None:
    config = write_config(tmp_path, **settings)
    code, text = new_house.fail("serve", "--port", "0", "--config", str(config))
    assert code != 0
    assert line in text
