"""Tables that an earlier program made, brought to what this one writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, select, update

from understudy.store.tables import keys, schema

log = logging.getLogger(__name__)


def upgrade_ledger(connection: Connection, version: int) -> int:
    """Step by step, in one transaction; the version that was reached."""
    while (step := _STEPS.get(version)) is not None:
        step(connection)
        version += 1
        connection.execute(update(schema).values(version=version))
    return version


def _names_once(connection: Connection) -> None:
    """From version 1 on: two replicas may have made keys of one name at once. The later one is
    called by its id too; nothing else of it changes."""
    live, now = keys.c.revoked.is_(None), time.time()
    expired = update(keys).where(live, keys.c.expires <= now).values(revoked=keys.c.expires)
    connection.execute(expired)
    rows = select(keys.c.id, keys.c.name).where(live).order_by(keys.c.created, keys.c.id)
    taken: set[str] = set()
    for key, name in connection.execute(rows).all():
        if name in taken:
            own = f"{name} {key}"
            log.warning("two live keys were called %s; the later one is now %s", name, own)
            connection.execute(update(keys).where(keys.c.id == key).values(name=own))
        taken.add(name)
    for index in keys.indexes:
        index.create(connection, checkfirst=True)


_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _names_once}
