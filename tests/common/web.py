"""A local web server for the download tests."""

import contextlib
import http.server
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def server(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """Serve `content` (404 if empty) at every path; yield the server URL and requested paths."""
    requested = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", requested
    finally:
        running.shutdown()
        thread.join()
        running.server_close()
