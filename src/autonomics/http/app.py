"""The app of one server start: routes, keys, roles, and errors as problems."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any, Final, cast

import attrs
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import Principal
from autonomics.errors import AutonomicsError, DoorRefused
from autonomics.http import (
    api_keys,
    health,
    line,
    marketplace,
    pubsub,
    receipts,
    signals,
    subjects,
    tenants,
)
from autonomics.http.admission import admit
from autonomics.http.credential import read_secret
from autonomics.http.exchange import JSON, Answer, Exchange, Refused, did_you_mean
from autonomics.http.guard import MARK, AsgiApp, Guard, Mark
from autonomics.http.mcp import McpDoor
from autonomics.http.problem import (
    MEDIA_TYPE,
    STATUSES,
    Problem,
    make_problem,
    problem_for,
    status_headers,
)
from autonomics.http.route import Route
from autonomics.http.setting import DoorSettings

ROUTES: Final[tuple[Route, ...]] = (
    *health.ROUTES,
    *pubsub.ROUTES,
    *marketplace.ROUTES,
    *signals.ROUTES,
    *receipts.ROUTES,
    *tenants.ROUTES,
    *api_keys.ROUTES,
    *line.ROUTES,
    *subjects.ROUTES,
)
# What a stranger brings to these is no key of ours, or nothing at all.
FOR_STRANGERS: Final = ("live", "ready", "sign_up")
SOCKET_PRINCIPAL: Final = Principal("control-socket", "operator")
ARGUMENT_LIMIT: Final = 300


def new_request_id() -> str:
    """Draw a request id."""
    return secrets.token_hex(16)


def create_app(
    control: ControlPlane,
    *,
    settings: DoorSettings | None = None,
    principal: Principal | None = None,
    new_id: Callable[[], str] = new_request_id,
) -> QuartTrio:
    """Make the app for one server start; a second start needs a second app.

    With `principal` every request is that principal's and no key is asked for: only for a server
    that strangers can't reach, such as the control socket.
    """
    settings = settings or DoorSettings()
    app = QuartTrio("autonomics.http", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_limit_bytes
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    app.config["RESPONSE_TIMEOUT"] = settings.send_timeout_s
    app.config["PROPAGATE_EXCEPTIONS"] = True  # The guard is the one that catches.
    app.url_map.merge_slashes = False  # A redirect would be an answer that is no problem.
    door = _Door(control=control, settings=settings, principal=principal, new_id=new_id)
    app.before_request(door.admit)
    app.register_error_handler(HTTPException, door.explain)
    for route in ROUTES:
        app.add_url_rule(
            route.path,
            endpoint=route.name,
            view_func=door.view(route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    guard = Guard(
        McpDoor(
            cast("AsgiApp", app.asgi_app), control=control, settings=settings, principal=principal
        ),
        new_id=new_id,
        requests_in_flight=settings.requests_in_flight,
    )
    app.asgi_app = guard  # type: ignore[method-assign, assignment]
    return app


@attrs.frozen(kw_only=True)
class _Door:
    control: ControlPlane
    settings: DoorSettings
    principal: Principal | None
    new_id: Callable[[], str]

    async def admit(self) -> Response | None:
        """Find out who is asking, before anything else is looked at; None lets them in."""
        mark = _mark()
        route = request.endpoint
        mark.route = route
        if self.principal is not None:
            mark.principal = self.principal
            return None
        token = request.args.get("token") if route == "push" else None
        secret = read_secret(mark.headers, token)
        if route in FOR_STRANGERS or (secret is None and route in health.OPEN):
            mark.principal = health.STRANGER
            return None
        admitted = await admit(self.control, secret)
        if isinstance(admitted, Problem):
            return _respond_problem(admitted, mark)
        mark.principal = admitted
        return None

    async def explain(self, error: HTTPException) -> Response:
        """Turn what the framework refuses by itself into a problem."""
        status = error.code or 500
        code = STATUSES.get(status, "bad_request" if status < 500 else "internal")
        headers: dict[str, str] = {}
        if status == 405:
            allowed = cast("list[str]", getattr(error, "valid_methods", None) or [])
            headers["Allow"] = ", ".join(sorted(allowed))
        detail = f"{request.method} {request.path[:80]!a}: {error.description or error.name}"
        return _respond_problem(make_problem(code, detail, headers=headers), _mark())

    def view(self, route: Route) -> Callable[..., Awaitable[Response]]:
        """Return what the framework calls for a route."""

        async def answer(**args: str) -> Response:
            mark = _mark()
            try:
                with trio.fail_after(self.settings.answer_timeout_s):
                    given = await route.answer(self._open(route, mark, args))
            except AutonomicsError as error:
                problem = problem_for(error)
                if problem.code == "internal":
                    raise
                return _respond_problem(problem, mark)
            except trio.TooSlowError:
                detail = f"no answer within {self.settings.answer_timeout_s:g} s"
                return _respond_problem(make_problem("timed_out", detail), mark)
            if isinstance(given, Refused):
                return _respond_problem(given.problem, mark)
            return _respond(given)

        return answer

    def _open(self, route: Route, mark: Mark, args: Mapping[str, str]) -> Exchange:
        principal = mark.principal
        assert principal is not None  # `admit` ran first
        if principal.role not in route.roles:
            roles = ", ".join(sorted(route.roles))
            raise DoorRefused(
                f"a key of role {principal.role} may not {route.method} {route.path}"
                f" (roles={roles})",
                "role_may_not",
            )
        for name, text in args.items():
            if len(text) > ARGUMENT_LIMIT or not text.isprintable():
                raise DoorRefused(f"there is nothing named {text[:80]!a} ({name})", "unknown_path")
        return Exchange(
            control=self.control,
            settings=self.settings,
            principal=principal,
            request_id=mark.request_id,
            new_id=self.new_id,
            read_body=_read_body,
            headers=mark.headers,
            query=_query(route),
            args=args,
            trace=mark.trace,
            is_local=self.principal is not None or _is_local(mark.headers),
        )


def _mark() -> Mark:
    return cast("Mark", cast("dict[str, Any]", request.scope)[MARK])


async def _read_body() -> bytes:
    return await request.get_data(cache=False, as_text=False, parse_form_data=False)


def _query(route: Route) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, values in request.args.lists():
        if name not in route.query:
            raise DoorRefused(
                f"unknown parameter {name[:60]!a}{did_you_mean(name, route.query)}", "bad_request"
            )
        if len(values) > 1:
            raise DoorRefused(f"expected {name} once, got it {len(values)} times", "bad_request")
        found[name] = values[0]
    return found


def _is_local(headers: Mapping[str, str]) -> bool:
    """Tell whether the peer is on this machine, and not a proxy that speaks for somebody else."""
    if "x-forwarded-for" in headers or "forwarded" in headers:
        return False
    client = cast("dict[str, Any]", request.scope).get("client")
    try:
        return client is not None and ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _respond_problem(problem: Problem, mark: Mark) -> Response:
    return _respond(
        Answer(
            body=problem.document(mark.request_id),
            status=problem.status,
            headers={**status_headers(problem.status), **problem.headers},
            media_type=MEDIA_TYPE,
        )
    )


def _respond(answer: Answer) -> Response:
    body = answer.body
    if answer.media_type in (JSON, MEDIA_TYPE):
        # ASCII on the wire: a payload may hold half of a surrogate pair, which UTF-8 can't.
        body = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    assert isinstance(body, bytes | AsyncIterator)
    headers = {"Cache-Control": "no-store", **answer.headers}
    return Response(body, answer.status, headers, content_type=answer.media_type)
