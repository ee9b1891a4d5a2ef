"""What is asked of an SSH server without a client."""

import socket
import threading
from pathlib import Path

import pytest

from builder.machine.ssh import Login, greets


@pytest.mark.parametrize(
    ("said", "expected"), [(b"SSH-2.0-OpenSSH_9.2\r\n", True), (b"HTTP/1.0 400 Bad Request\r\n", False), (b"", False)]
)
def test_greets(said: bytes, expected: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        assert greets(Login(port=server.getsockname()[1], known=Path("unused"))) is expected
        thread.join()


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not greets(Login(port=unused.getsockname()[1], known=Path("unused")))
