"""What Flower starts: the relay on one machine, a node on each of the others."""

from pathlib import Path

from understudy.share.flower import client_app, server_app

_SETTINGS = Path(__file__).with_name("settings.yaml")

server = server_app(_SETTINGS)
client = client_app(_SETTINGS)
