"""A TLS socket for two threads, such as those of the `websockets` library: one reads while the other writes."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from threading import Lock
from typing import Any


class SharedTlsSocket(ssl.SSLSocket):
    """Lets one thread at a time into OpenSSL, and has them wait outside.

    OpenSSL's connections are not made for two threads at once, and not every version of Python locks them.
    Some hundredth request was lost that one thread wrote while the other read the server's session tickets.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        received: bytes = self._enter(super().recv, buflen, flags)
        return received

    def send(self, data: Any, flags: int = 0) -> int:
        sent: int = self._enter(super().send, data, flags)
        return sent

    def _enter(self, act: Callable[..., Any], *arguments: Any) -> Any:
        lock: Lock = self.__dict__.setdefault("_inside", Lock())
        while True:
            with lock:
                seconds = self.gettimeout()
                self.settimeout(0)
                try:
                    return act(*arguments)
                except ssl.SSLWantReadError:
                    waits: tuple[list[Any], list[Any]] = [self], []
                except ssl.SSLWantWriteError:
                    waits = [], [self]
                finally:
                    self.settimeout(seconds)
            if not any(select.select(*waits, [], seconds)):
                raise TimeoutError("timed out")
