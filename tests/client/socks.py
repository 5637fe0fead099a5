"""A SOCKS5 proxy (RFC 1928): no authentication, CONNECT only, and every name leads to 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Self

IPV4, NAME, IPV6 = 1, 3, 4


class SocksProxy:
    """Records the hosts that clients requested, and whether bytes came back through it."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.relayed = 0  # bytes from servers to clients
        proxy = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                _version, methods = self.rfile.read(2)
                self.rfile.read(methods)
                self.wfile.write(b"\x05\x00")
                _version, command, _reserved, kind = self.rfile.read(4)
                if command != 1 or kind == IPV6:
                    self.wfile.write(b"\x05\x07\x00\x01" + bytes(6))
                    return
                if kind == IPV4:
                    host = socket.inet_ntoa(self.rfile.read(4))
                else:
                    host = self.rfile.read(self.rfile.read(1)[0]).decode()
                proxy.hosts.append(host)
                port = int.from_bytes(self.rfile.read(2))
                with socket.create_connection(("127.0.0.1", port), 30) as server:
                    self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                    upwards = threading.Thread(target=self._upwards, args=(server,), daemon=True)
                    upwards.start()
                    while data := server.recv(65536):
                        proxy.relayed += len(data)
                        self.wfile.write(data)

            def _upwards(self, server: socket.socket) -> None:
                try:
                    while data := self.request.recv(65536):
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)
                except OSError:
                    # The server closed its side first.
                    return

        ThreadingTCPServer.daemon_threads = True
        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = False
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
