"""uvicorn on addresses that are taken before the application is opened."""

from __future__ import annotations

from typing import Any

import uvicorn

from understudy.errors import ConfigError
from understudy.gateway.servers.listening import bound_sockets, cannot_listen, closed_on_failure


class BoundServer(uvicorn.Server):
    """where: how the user named its address, for a refusal."""

    def __init__(self, config: uvicorn.Config, where: str) -> None:
        super().__init__(config)
        self._where = where

    @property
    def port(self) -> int:
        """The one that it listens on."""
        found: int = self.servers[0].sockets[0].getsockname()[1]
        return found

    async def startup(self, sockets: Any = None) -> None:
        taken = bound_sockets(self.config.host, self.config.port, self._where)
        with closed_on_failure(taken):
            try:
                await super().startup(taken)
            except SystemExit:  # the application keeps its own failure
                raise ConfigError("the server could not start") from None
            except OSError as error:  # somebody else began to listen there meanwhile
                await self.lifespan.shutdown()
                raise cannot_listen(self._where, error) from None
