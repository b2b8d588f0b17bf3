"""Begins with a Redis: asks it for the secret that all nodes share, and makes the broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hubbub.brokers.redis import RedisBroker
from hubbub.brokers.redis_cluster import ClusterRoutes
from hubbub.brokers.redis_forms import encoded
from hubbub.brokers.redis_link import Patience
from hubbub.brokers.redis_routes import Routes
from hubbub.brokers.redis_url import Target
from hubbub.errors import BrokerAwayError, BrokerError
from hubbub.hub.ports import Retention


def open_redis(
    target: Target,
    patience: Patience,
    prefix: str,
    retention: Callable[[str], Retention],
    now_ms: Callable[[], int],
    loop: Callable[[], asyncio.AbstractEventLoop],
    ca: str = "",
) -> RedisBroker:
    """Asks Redis for the secret, on a thread of its own, and makes a broker.

    Raises:
        BrokerAwayError: Redis is not there.
    """
    routes = (ClusterRoutes if target.kind == "cluster" else Routes)(target, patience, ca)
    key = encoded(f"{prefix}secret")
    with ThreadPoolExecutor(1, "hubbub-redis-secret") as thread:
        try:
            secret = thread.submit(asyncio.run, routes.fetch_secret(key, os.urandom(32))).result()
        except BrokerError as error:
            raise BrokerAwayError(f"{target}: {error}") from None
    return RedisBroker(routes, secret, retention, now_ms, loop, prefix)
