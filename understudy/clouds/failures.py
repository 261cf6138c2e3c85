"""Failed calls are said aloud: the first by name, then their number; too many stop a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from understudy.errors import CloudError
from understudy.types import Cloud, Reply

_LONGEST = 240  # characters of an error that are kept

_FEWEST, _WINDOW = 20, 100  # calls that a share is taken of
_NAMED = 3  # different failures that are named

# What errors of a recorded cloud begin with, and of a simulated one that does not know a question.
NOT_RECORDED, FAILED_IN_RECORD = "not in the record", "failed when it was recorded"
NOT_KNOWN = (
    "the simulated cloud knows only generated questions, such as "
    "'Tom has 12 pens, buys 5. how many?'"
)

# What an error begins with, and what to do about it.
_ADVICE = (
    ("HTTP 401", "the key is refused: check cloud.http.api_key_env or cloud.http.api_key_file"),
    ("HTTP 403", "the key may not do this: check cloud.http.api_key_env and cloud.http.model"),
    ("HTTP 402", "the account has no credit left"),
    ("HTTP 404", "nothing is there: check cloud.http.base_url (up to /v1) and cloud.http.model"),
    ("HTTP 400", "the request is refused: check cloud.http.model, max_tokens and extra_body"),
    ("HTTP 422", "the request is refused: check cloud.http.model, max_tokens and extra_body"),
    ("HTTP 429", "too many requests, or no quota left: lower cloud.http.max_concurrency, or wait"),
    ("HTTP 5", "the endpoint itself fails: see its log, or wait"),
    ("HTTP", "check cloud.http.base_url"),
    ("no connection", "is the server running, and is cloud.http.base_url right?"),
    ("no secure connection", "its certificate is not accepted: check cloud.http.base_url"),
    ("wrong content type", "is this an OpenAI-compatible endpoint? Check cloud.http.base_url"),
    ("malformed reply", "is this an OpenAI-compatible endpoint? Check cloud.http.base_url"),
    ("timeout", "no answer in time: is it overloaded? See cloud.http.timeout_seconds"),
    ("circuit open", "calls before this one failed, so none is made for a while"),
    (NOT_RECORDED, "record it (bench/record_cloud.py), or set cloud.live to ask a live cloud"),
    (FAILED_IN_RECORD, "record it anew, or set cloud.live to ask a live cloud"),
    ("truncated", "answers are cut off: raise cloud.http.max_tokens"),
)


def shortened(message: str, longest: int = _LONGEST) -> str:
    """As much of an error as is kept; a secret in it must be taken out before."""
    return message if len(message) <= longest else message[: longest - 3] + "..."


def failure_text(cloud: Cloud, error: str) -> str:
    """What failed, where, and what to do, in one line without a secret."""
    advice = next((advice for start, advice in _ADVICE if error.startswith(start)), "")
    address = getattr(cloud, "address", type(cloud).__name__)
    return f"{address}: {error}" + (f"; {advice}" if advice else "")


class FailureWatch:
    """Watches the calls of a run. What a resumed run reads from its log is no call.

    most: the share of failed calls above which the run stops, of the last 100 and at least 20;
    20 in a row stop it too, unless any share is allowed.
    then: what to do when the cloud answers again. stops_at_cap: whether a cap ends the run, too.
    """

    def __init__(
        self,
        cloud: Cloud,
        most: float,
        warn: Callable[[str], None],
        then: str = "then continue with --resume",
        stops_at_cap: bool = False,
    ) -> None:
        self.stops_at_cap = stops_at_cap
        self.cloud, self.most, self.warn, self.then = cloud, most, warn, then
        self.failed = 0
        self._refused = ""
        self._named: set[str] = set()
        self._recent: deque[str | None] = deque(maxlen=_WINDOW)  # errors
        self._next_count = 10

    def note(self, reply: Reply, attempt: int = 0) -> None:
        """A call was made, after so many failed ones for the same question.

        An answer that is cut off again tells nothing of the cloud: answers that are whole are
        never asked for again, so later examinations would see failed calls alone.
        """
        if attempt and reply.error == "truncated":
            return
        self._recent.append(reply.error)
        if reply.error is None:
            return
        self.failed += 1
        begins = reply.error.partition(":")[0]
        if begins not in self._named and len(self._named) < _NAMED:
            self._named.add(begins)
            self.warn(f"a call to the cloud failed: {failure_text(self.cloud, reply.error)}")
        elif self.failed >= self._next_count:
            self.warn(f"{self.failed} calls to the cloud have failed so far")
        while self.failed >= self._next_count:
            self._next_count *= 10

    def refuse(self, reason: str) -> None:
        """A question was not asked, since a cap of the run is reached."""
        if not self._refused:
            self._refused = reason
            if not self.stops_at_cap:
                self.warn(f"{reason}; the same for questions after it that have no room")

    def check(self) -> None:
        """Stop the run where too many of the last calls failed, or at a cap that ends it."""
        if self._refused and self.stops_at_cap:
            raise CloudError(
                f"{self._refused}; cloud.at_cap=stop ends the run: raise the cap, as with "
                "--resume --set cloud.max_dollars=N"
            )
        calls = list(self._recent)
        if None not in calls[-_FEWEST:]:
            calls = calls[-_FEWEST:]
        errors = [error for error in calls if error is not None]
        if len(calls) < _FEWEST or len(errors) <= self.most * len(calls):
            return
        raise CloudError(
            f"{len(errors)} of the last {len(calls)} calls to the cloud failed, more than "
            f"cloud.max_failed_share={self.most:g} allows; the last: "
            f"{failure_text(self.cloud, _telling(errors))}; {self.then}"
        )


def _telling(errors: list[str]) -> str:
    """The last error that says more than that calls before it failed."""
    return next((e for e in reversed(errors) if e != "circuit open"), errors[-1])
