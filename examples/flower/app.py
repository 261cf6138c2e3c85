"""What Flower starts: the relay on one machine, a node on each of the others."""

from pathlib import Path

import yaml

_SETTINGS = Path(__file__).with_name("settings.yaml")

if yaml.safe_load(_SETTINGS.read_text()).get("recipe") == "federate":
    from understudy.federate.flower import client_app, server_app
else:
    from understudy.share.flower import client_app, server_app

server = server_app(_SETTINGS)
client = client_app(_SETTINGS)
