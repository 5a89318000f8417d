"""The stock in a Flask service: each request has a thread, the tree has its own.

In this folder `gunicorn --config gunicorn_conf.py flask_service:app` serves it as well.
"""

from __future__ import annotations

import signal
import sys

from flask import Flask

from shop_portal import get_portal, leave
from shop_stock import Deliver, Take, stand_in_line

app = Flask(__name__)


@app.post("/take/<int:pieces>")
def take(pieces: int) -> dict[str, int]:
    """Take some pieces out."""
    return {"left": get_portal().call("stock", Take(pieces))}


@app.post("/deliver/<int:pieces>")
def deliver(pieces: int) -> tuple[str, int]:
    """Put some pieces in."""
    get_portal().cast("stock", Deliver(pieces))
    return "", 202


@app.get("/wait/<int:pieces>")
def wait(pieces: int) -> dict[str, int]:
    """Wait for so many pieces; a WSGI server does not say when somebody hangs up."""
    portal = get_portal()
    return {"there": portal.run(stand_in_line, portal.runtime, pieces)}


def main(port: int = 8000) -> None:
    """Serve with Flask's own server until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, leave)
    get_portal()
    app.run(port=port, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
