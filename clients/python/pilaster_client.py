"""Asks Pilaster for a dashboard's query, and the product's own endpoint where Pilaster cannot answer.

One file, the standard library alone, Python 3.9 and newer. Safe to share between threads.

    client = Pilaster(["http://10.0.0.5:8080", "http://10.0.0.6:8080"], fallback=ask_the_monolith, key="plk_…")
    reply = client.query("revenue/mrr_by_plan", {"from": "2026-01-01"}, tenant="7")
    reply.body            # the JSON, whoever answered
    reply.answered_by     # "pilaster", or "fallback"

`fallback(query, parameters, tenant)` returns the same JSON; it is called when no node answers in time, when one says 5xx or 429, and at once,
without asking, while the breaker of every node is open. What Pilaster says of the request itself (a parameter that is wrong, a tenant that may not
see it) is `PilasterError`, and is not asked of the fallback: it would be as wrong there.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Sequence

Fallback = Callable[[str, Mapping[str, Any], Optional[str]], Any]


class PilasterError(Exception):
    """Pilaster refuses the request: `status`, and the problem of RFC 9457 with `code`, `message` and `hint`."""

    def __init__(self, status: int, problem: Mapping[str, Any]):
        super().__init__(f"{problem.get('code', status)}: {problem.get('message', '')}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Reply:
    """The answer, and who gave it: "pilaster" or "fallback"."""

    body: Any
    answered_by: str


class _Breaker:
    """Closed while calls succeed; open after `failures_max` failures in a row, for `open_seconds`; then one call tries."""

    def __init__(self, failures_max: int, open_seconds: float, clock: Callable[[], float]):
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def may_call(self) -> bool:
        with self._lock:
            if self._failures < self._failures_max:
                return True
            now = self._clock()
            if now < self._open_until:
                return False
            # One tries; the others wait for what it finds.
            self._open_until = now + self._open_seconds
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self._failures_max:
                self._open_until = self._clock() + self._open_seconds


class Pilaster:
    """Nodes that are asked in turn, and the fallback."""

    def __init__(
        self,
        nodes: Sequence[str],
        fallback: Fallback,
        key: Optional[str] = None,
        timeout: float = 2.0,
        failures_max: int = 3,
        open_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        if not nodes:
            raise ValueError("give at least one node, for example http://127.0.0.1:8080")
        self._nodes = [(node.rstrip("/"), _Breaker(failures_max, open_seconds, clock)) for node in nodes]
        self._fallback = fallback
        self._key = key
        self._timeout = timeout
        self._turn = 0
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def query(self, query: str, parameters: Optional[Mapping[str, Any]] = None, tenant: Optional[str] = None) -> Reply:
        """Answers a named query, `dashboard/name`. Lists are repeated, as `plans=pro&plans=team`."""
        parameters = parameters or {}
        with self._lock:
            first = self._turn
            self._turn += 1
        for step in range(len(self._nodes)):
            node, breaker = self._nodes[(first + step) % len(self._nodes)]
            if not breaker.may_call():
                continue
            try:
                body = self._ask(node, query, parameters, tenant)
            except PilasterError:
                breaker.succeeded()
                raise
            except _Unanswered as unanswered:
                if unanswered.is_nodes_fault:
                    breaker.failed()
                else:
                    breaker.succeeded()
                continue
            breaker.succeeded()
            return Reply(body, "pilaster")
        return Reply(self._fallback(query, parameters, tenant), "fallback")

    def _ask(self, node: str, query: str, parameters: Mapping[str, Any], tenant: Optional[str]) -> Any:
        given = {name: value for name, value in parameters.items() if value is not None}
        path = "/".join(urllib.parse.quote(part, safe="") for part in query.split("/"))
        url = f"{node}/v1/queries/{path}?{urllib.parse.urlencode(given, doseq=True)}"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        if self._key:
            request.add_header("Authorization", f"Bearer {self._key}")
        if tenant is not None:
            request.add_header("Pilaster-Tenant", tenant)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            # 429 is this caller's own quota: the node is well.
            if error.code >= 500 or error.code == 429:
                raise _Unanswered(is_nodes_fault=error.code != 429) from error
            raise PilasterError(error.code, _problem(error)) from None
        except (OSError, ValueError) as error:
            # No connection, no answer in time, or a body that was cut.
            raise _Unanswered(is_nodes_fault=True) from error


class _Unanswered(Exception):
    def __init__(self, is_nodes_fault: bool):
        super().__init__("no answer")
        self.is_nodes_fault = is_nodes_fault


def _problem(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    try:
        problem = json.load(error)
    except (OSError, ValueError):
        return {}
    return problem if isinstance(problem, dict) else {}
