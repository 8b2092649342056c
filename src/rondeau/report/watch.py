"""A live page of a run, served to this machine alone."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rondeau.errors import RondeauError
from rondeau.report.blocks import Section
from rondeau.report.page import names, render, render_section
from rondeau.report.sections import sections
from rondeau.report.status import Status, fingerprint, status
from rondeau.tasks.record import read_record

LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
SHARE = 20  # a page is not drawn again before so many times what drawing took: training has the machine


class Page:
    """The sections of a run's page, drawn again when its files have changed, but not too often.

    Args:
        run: the folder; it need not exist yet.
        now: the clock of file times, in seconds.
    """

    def __init__(self, run: Path, now: Callable[[], float] = time.time) -> None:
        self.run, self.now = run, now
        self.lock = threading.Lock()
        self.files: Any = None
        self.made: dict[str, Any] = {}
        self.rest_until = 0.0

    def state(self, seen: str) -> dict[str, Any]:
        """`status`, a sentence, and `version`; where that is another than `seen`, `title`, `links`, `sections` too."""
        with self.lock:
            files, began = fingerprint(self.run), time.monotonic()
            if files != self.files and (not self.made or began >= self.rest_until):
                self.files, self.made = files, self._make()
                self.rest_until = time.monotonic() + SHARE * (time.monotonic() - began)
            said: Status = status(self.run, self.now())
            short = {"status": said.sentence, "state": said.state, "version": self.made["version"]}
            return short if seen == self.made["version"] else {**short, **self.made}

    def _make(self) -> dict[str, Any]:
        title, made, trouble = self.run.resolve().name, [], ""
        if self.files:
            try:
                record = read_record(self.run)
                title, made = record.name, sections(record)
            except (RondeauError, OSError, ValueError, KeyError) as error:  # half written; said, and tried again
                trouble = str(error)
                if self.made:
                    self.files = None
                    return self.made
        figures = names(made)
        shown = [_part(section, figures) for section in made]
        text = json.dumps([title, shown, trouble])
        version = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        links = render_links(made)
        return {"version": version, "title": title, "links": links, "sections": shown, "trouble": trouble}


def _part(section: Section, figures: frozenset[str]) -> dict[str, str]:
    html = render_section(section, figures)
    return {"id": section.id, "made": hashlib.blake2b(html.encode(), digest_size=8).hexdigest(), "html": html}


def render_links(made: list[Section]) -> str:
    """The list of sections."""
    from markupsafe import escape

    return "".join(f'<li><a href="#{escape(s.id)}">{escape(s.title)}</a></li>' for s in made)


class Watch:
    """A server of one run's page, on the loopback only.

    Args:
        run: the folder; it need not exist yet, and may be written anew while it is watched.
        port: to listen on; 0 takes a free one.
        pause: seconds between two questions of an open page.
    """

    def __init__(self, run: Path, port: int = 0, pause: float = 2.0) -> None:
        page = Page(run)
        shell = render("watch.html.j2", run.resolve().name, [], pause=int(1000 * pause), connect="'self'").encode()

        class Handler(_Handler):
            def answer(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, str] | None:
                if path == "/":
                    return shell, "text/html; charset=utf-8"
                if path == "/state":
                    seen = query.get("version", [""])[0]
                    return json.dumps(page.state(seen)).encode(), "application/json"
                return None

        self.server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        self.server.daemon_threads = True

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

    def _own_host(self) -> bool:
        port = self.connection.getsockname()[1]
        return self.headers.get("Host", "") in {f"{host}:{port}" for host in HOSTS}

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""
