"""The stock in a Django service of one file, settings and all.

In this folder `gunicorn --config gunicorn_conf.py django_service:application` serves it; run as a
program it has Django's own threaded server.
"""
# Django has no types of its own:
# mypy: disable-error-code="import-untyped"
# pyright: reportMissingTypeStubs=false, reportUnnecessaryComparison=false

from __future__ import annotations

import signal
import sys

from django.conf import settings
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import path

from shop_portal import get_portal, leave
from shop_stock import Deliver, Take, stand_in_line, tell


def take(request: HttpRequest, pieces: int) -> HttpResponse:
    """Take some pieces out."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    return JsonResponse({"left": get_portal().call("stock", Take(pieces))})


def deliver(request: HttpRequest, pieces: int) -> HttpResponse:
    """Put some pieces in."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    get_portal().cast("stock", Deliver(pieces))
    return HttpResponse(status=202)


def wait(_request: HttpRequest, pieces: int) -> HttpResponse:
    """Wait for so many pieces; a WSGI server does not say when somebody hangs up."""
    portal = get_portal()
    return JsonResponse({"there": portal.run(stand_in_line, portal.runtime, pieces)})


urlpatterns = [
    path("take/<int:pieces>", take),
    path("deliver/<int:pieces>", deliver),
    path("wait/<int:pieces>", wait),
]

settings.configure(  # pyright: ignore[reportUnknownMemberType] - untyped
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    LOGGING_CONFIG=None,  # errors go to stderr, not by mail to the admins
)
application = get_wsgi_application()


def main(port: int = 8000) -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, leave)
    get_portal()
    with ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler) as server:
        server.set_app(application)  # pyright: ignore[reportArgumentType] - its return is untyped
        tell(f"Running on http://127.0.0.1:{server.server_port}")
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
