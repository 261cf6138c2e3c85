"""The cookie of a session: which key opened it, until when, and a seal that only its server makes.

The seal is an HMAC with the key's hash and a secret of the server that is not in its database, so
that every replica can check it, nothing needs to be kept for a session, a key that is revoked ends
its sessions, and a copy of the database opens none. The key itself is not in the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

COOKIE = "understudy_session"
SECONDS = 12 * 3600
_FORM = re.compile(r"([A-Za-z0-9_-]{1,64})\.(\d{1,12})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Session:
    key: str  # the id of the API key
    expires: int  # seconds since 1970
    seal: str

    def __str__(self) -> str:
        return f"{self.key}.{self.expires}.{self.seal}"

    def is_good(self, sealing: bytes, now: float) -> bool:
        """sealing: the key's and the server's. Compared in a time that says nothing."""
        return hmac.compare_digest(_seal(self.key, self.expires, sealing), self.seal) and (
            now < self.expires <= now + SECONDS + 1
        )


def opened(key: str, sealing: bytes, now: float) -> Session:
    expires = int(now) + SECONDS
    return Session(key, expires, _seal(key, expires, sealing))


def read(cookie: str) -> Session | None:
    """What a browser sent, unchecked."""
    found = _FORM.fullmatch(cookie)
    return Session(found[1], int(found[2]), found[3]) if found else None


def _seal(key: str, expires: int, sealing: bytes) -> str:
    text = f"understudy dashboard\n{key}\n{expires}".encode()
    return hmac.new(sealing, text, hashlib.sha256).hexdigest()
