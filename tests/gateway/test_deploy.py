"""The files of deploy/, held to the program that they start."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from understudy.gateway.settings import ServeSettings
from understudy.settings import check_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVICE = (DEPLOY / "understudy.service").read_text(encoding="utf-8")
CONTAINER = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def settings() -> ServeSettings:
    content = yaml.safe_load((DEPLOY / "gateway.yaml").read_text(encoding="utf-8"))
    return check_settings(ServeSettings, content)


def test_the_settings_load_and_need_a_key() -> None:
    found = settings()
    assert found.door.keys == "required"
    assert [cap.text for cap in found.store.caps] == ["5 dollars/day", "200 calls/hour"]


def test_the_service_has_time_to_drain() -> None:
    seconds = int(re.findall(r"^TimeoutStopSec=(\d+)$", SERVICE, re.MULTILINE)[0])
    assert seconds > settings().door.drain_seconds + 45  # to settle what was cut off


def test_the_service_and_the_image_start_what_the_program_understands() -> None:
    (unit,) = re.findall(r"^ExecStart=(.*)$", SERVICE, re.MULTILINE)
    (program,) = re.findall(r"^ENTRYPOINT (.*)$", CONTAINER, re.MULTILINE)
    (words,) = re.findall(r"^CMD (.*)$", CONTAINER, re.MULTILINE)
    for command in (unit.split(), [*json.loads(program), *json.loads(words)]):
        assert Path(command[0]).name == "understudy"
        given = [each.replace("/etc/understudy", str(DEPLOY)) for each in command[1:]]
        shown = subprocess.run(
            [sys.executable, "-m", "understudy", *given, "--dry-run"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0, shown.stderr
        port = yaml.safe_load(shown.stdout)["door"]["port"]
        assert f"EXPOSE {port}\n" in CONTAINER
        assert f"127.0.0.1:{port}/health" in CONTAINER


def test_the_places_of_the_service_are_those_that_the_docs_make() -> None:
    docs = (ROOT / "docs" / "gateway-deploy.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^ExecStart=(\S+)", SERVICE, re.MULTILINE)
    (environment,) = re.findall(r"^EnvironmentFile=-(\S+)", SERVICE, re.MULTILINE)
    (store,) = re.findall(r"UNDERSTUDY_STORE=(\S+)", SERVICE)
    (folder,) = re.findall(r"^StateDirectory=(\S+)$", SERVICE, re.MULTILINE)
    for place in (Path(program).parents[1], "/etc/understudy/gateway.yaml", environment, store):
        assert str(place) in docs
    assert Path(store).parent == Path("/var/lib") / folder
    (kept,) = re.findall(r"UNDERSTUDY_STORE=(\S+)", CONTAINER)
    assert f"VOLUME {Path(kept).parent}\n" in CONTAINER
    assert "Documentation=" not in SERVICE  # no command of the docs would put it there


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_service_and_finds_it_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "understudy.service"
    program = shutil.which("true") or ""
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={program}", SERVICE, flags=re.M))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert str(unit.name) not in found.stderr, found.stderr
    security = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit]
    assert subprocess.run(security, capture_output=True).returncode == 0


def test_the_image_takes_extras_that_there_are_and_files_that_it_may_see() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.findall(r"EXTRAS=([\w,]+)", CONTAINER)
    assert named
    assert {each for names in named for each in names.split(",")} <= extras.keys()
    ignore = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    seen = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        word.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINER, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == seen
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_nobody_and_asks_for_its_health() -> None:
    assert "USER 10001" in CONTAINER
    assert "/health" in CONTAINER
    assert CONTAINER.index("USER 10001") < CONTAINER.index("ENTRYPOINT")


def test_prometheus_scrapes_where_the_metrics_are() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    assert job["authorization"]["type"] == "Bearer"


@pytest.mark.parametrize("name", ["Caddyfile", "nginx.conf"])
def test_a_proxy_waits_longer_than_a_request_may_take(name: str) -> None:
    seconds = max(map(int, re.findall(r"\b(\d+)s;?$", (DEPLOY / name).read_text(), re.MULTILINE)))
    assert seconds > settings().door.request_seconds
