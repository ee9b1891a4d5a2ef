"""An instance's metadata service on loopback: version 2, version 1, or one that misbehaves."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-token"


@contextmanager
def metadata_service(
    values: Mapping[str, str], *, token_status: int = 200, required: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked. `required`: it answers with a token only, as version 2 alone does."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(f"PUT {self.path}")
            life = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            good = self.path == "/latest/api/token" and life.isdigit()
            self._answer(token_status if good else 400, TOKEN if good and token_status == 200 else "")

        def do_GET(self) -> None:
            token = self.headers.get("X-aws-ec2-metadata-token")
            asked.append(f"GET {self.path}" + (" with a token" if token == TOKEN else ""))
            name = self.path.removeprefix("/latest/meta-data/")
            if required and token != TOKEN:
                self._answer(401, "")
            elif name in values:
                self._answer(200, values[name])
            else:
                self._answer(404, "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
