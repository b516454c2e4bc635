"""A server of files that breaks off, refuses and lies as it is told."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyServer(ThreadingHTTPServer):
    """Files over HTTP with ranges and ETags, and the faults that a test wants; `asked` has path and range of requests.

    `came` is released for each of them, for those that a client does not wait for.

    `faults` has, for each coming request, `cut` (half of what is asked for, then the end), `stall` (half, then
    nothing), or a status; without an entry the request is answered. `ranges` False sends all files whole.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _FaultyHandler)
        self.files, self.faults, self.asked, self.ranges = {}, [], [], True
        self.release, self.came = threading.Event(), threading.Semaphore(0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that has gone is what tests are about."""


class _FaultyHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        server.came.release()
        fault = server.faults.pop(0) if server.faults else None
        data = server.files.get(self.path)
        if isinstance(fault, int) or data is None:
            self.send_error(fault or 404)
            return
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        start = self._start(data, tag)
        if start > len(data):
            self.send_error(416)
            return
        body = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault else body)
        if fault == "stall":
            self.wfile.flush()
            server.release.wait()

    def _start(self, data, tag):
        wanted = self.headers.get("Range")
        if not wanted or not self.server.ranges or self.headers.get("If-Range", tag) != tag:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def log_message(self, format, *args):
        pass
