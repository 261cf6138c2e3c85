"""The command that starts a bare Python inside bubblewrap, with what it needs and nothing else."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import SandboxError

INSIDE = Path(__file__).parent / "inside"

# Set iteration, and so a program's output, must not depend on chance.  The
# environment is empty but for these, so -I, which would ignore the seed, has nothing to add.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_LIBRARY_PATH": "/python/libraries"}
OPTIONS = ["-s", "-S", "-P", "-B", "-X", "utf8"]

# Plain words, so that nobody allows it without having read what it means.
ALLOW_UNSAFE = (
    "let it do whatever you can do on this machine: sandbox.allow_unsafe_code=true in a run, "
    "unsafe=True in Python"
)

# Not user 0 inside: the kernel lets no user namespace within map that one without more rights.
NAMESPACES_OF_USER = ["--unshare-all", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000"]

START = "import sys; sys.path.insert(0, {!r}); import {module}; {module}.main()"

# Asks the loader which libraries Python and its own modules open. (Nothing here needs a screen.)
ASK = """
import ctypes, json, os, sysconfig
folder = sysconfig.get_config_var("DESTSHARED") or ""
for name in os.listdir(folder) if os.path.isdir(folder) else []:
    if name.endswith(".so") and not name.startswith(("_tkinter", "_test", "readline")):
        try:
            ctypes.CDLL(os.path.join(folder, name))
        except OSError:
            pass
found = []
class Info(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
note = kind(lambda info, size, data: found.append(os.fsdecode(info.contents.name)) or 0)
ctypes.CDLL(None).dl_iterate_phdr(note, None)
print(json.dumps([sysconfig.get_path("stdlib"), found]))
"""


def base_python() -> str:
    """The interpreter that a virtual environment was made of, or this one."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@functools.cache
def needs_of(python: str) -> tuple[str, tuple[str, ...]]:
    """The standard library's folder, and the shared libraries, loader included."""
    done = subprocess.run([python, "-I", "-S", "-c", ASK], capture_output=True, text=True)
    if done.returncode:
        raise SandboxError(f"{python} does not run: {done.stderr.strip().splitlines()[-1:]}")
    stdlib, found = json.loads(done.stdout.splitlines()[-1])
    outside = (name for name in found if os.path.isabs(name) and not name.startswith(stdlib))
    return stdlib, tuple(outside)


def bare_command(settings: str) -> list[str]:
    """The server without any walls."""
    root = str(INSIDE.parents[2])
    return [base_python(), *OPTIONS, "-c", _start(root), settings]


def confined_command(settings: str, root: bool) -> list[str]:
    """root: started by root, which opens the folders and then becomes nobody."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError(
            "code that a model wrote runs only in bubblewrap, and there is no `bwrap` here; "
            f"install the package bubblewrap, or {ALLOW_UNSAFE}"
        )
    return [
        found,
        *(_namespaces_of_root() if root else NAMESPACES_OF_USER),
        *("--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox"),
        "--clearenv",
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *_folders(),
        *("--chdir", "/"),
        *("/python/bin/python", *OPTIONS, "-c", _start("/sandbox"), settings),
    ]


def _start(root: str) -> str:
    return START.format(root, module="understudy.sandbox.inside.server")


def _namespaces_of_root() -> Iterator[str]:
    """All but the users': root gives up its power for good; each program gets that namespace."""
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
    yield "--unshare-cgroup-try"
    yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")


def _folders() -> Iterator[str]:
    python = base_python()
    stdlib, libraries = needs_of(python)
    home = f"/python/{sys.platlibdir}/{Path(stdlib).name}"
    shown = {"/python/bin/python": python, home: stdlib}
    for library in libraries:
        loader = Path(library).name.startswith(("ld-", "ld64"))
        shown[library if loader else f"/python/libraries/{Path(library).name}"] = library
    shown["/sandbox/understudy/sandbox/inside"] = str(INSIDE)
    devices = [f"/dev/{name}" for name in ("null", "zero", "random", "urandom")]
    # Folders that bubblewrap makes by itself are closed to everyone but their owner.
    above = {str(folder) for path in [*shown, *devices] for folder in Path(path).parents}
    for folder in [*sorted(above - {"/"}), "/tmp"]:
        yield from ("--dir", folder)
    for path, source in shown.items():
        yield from ("--ro-bind", source, path)
    for name in ("site-packages", "dist-packages"):
        if (Path(stdlib) / name).is_dir():
            yield from ("--tmpfs", f"{home}/{name}", "--remount-ro", f"{home}/{name}")
    for device in devices:
        yield from ("--dev-bind", device, device)
    yield from ("--symlink", "/tmp", "/dev/shm", "--proc", "/proc", "--remount-ro", "/")
