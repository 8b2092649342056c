"""A live page of a run, served to this machine alone."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rondeau.report.live import Page
from rondeau.report.page import render

LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")


class Watch:
    """A server of one run's page, on the loopback only.

    Args:
        run: the folder; it need not exist yet, and may be written anew while it is watched.
        port: to listen on; 0 takes a free one.
        pause: seconds between two questions of an open page.
    """

    def __init__(self, run: Path, port: int = 0, pause: float = 2.0) -> None:
        page = Page(run)
        self.shell = shell = render(
            "watch.html.j2", run.resolve().name, [], pause=int(1000 * pause), connect="'self'"
        ).encode()

        class Handler(_Handler):
            def answer(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, str] | None:
                if path == "/":
                    return shell, "text/html; charset=utf-8"
                if path == "/state":
                    seen = query.get("version", [""])[0]
                    return json.dumps(page.state(seen)).encode(), "application/json"
                return None

        self.server = _Server((LOOPBACK, port), Handler)

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{LOOPBACK}:{self.server.server_address[1]}/"

    def serve(self) -> None:
        """Answer until interrupted or closed."""
        try:
            self.server.serve_forever(poll_interval=0.2)
        finally:
            self.server.server_close()

    def close(self) -> None:
        """End `serve`, from another thread."""
        self.server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a page that was closed wants no answer any more
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET alone, and only to pages that asked for this machine by name: another name that leads here is a
    foreign page's (DNS rebinding)."""

    server_version, sys_version = "Rondeau", ""

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, str] | None:
        raise NotImplementedError

    def do_GET(self) -> None:
        if not self._own_host():
            self.send_error(HTTPStatus.FORBIDDEN, "Ask for localhost")
            return
        url = urlsplit(self.path)
        found = self.answer(url.path, parse_qs(url.query))
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content, kind = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _own_host(self) -> bool:
        port = self.connection.getsockname()[1]
        return self.headers.get("Host", "").lower() in {f"{host}:{port}" for host in HOSTS}

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""
