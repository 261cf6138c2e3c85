"""Programs that want out: to read, write or reach what is not theirs."""

from __future__ import annotations

from tests.sandbox.hostile import GONE, WRONG, Hostile, escaping, printing, raising

CALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
column = ["x86_64", "aarch64"].index(platform.machine())
def call(numbers, *args):
    ctypes.set_errno(0)
    return libc.syscall(numbers[column], *map(ctypes.c_ulong, args))
"""

READING = {
    "reads the environment": escaping(
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\n"
        "def escaped(): return 'canary' in repr(os.environ) or libc.getenv(b'CANARY')"
    ),
    "reads the environment of others": raising(
        "\n".join(
            f"open('/proc/{pid}/{name}', 'rb').read()"
            for pid in ("self", "1", "2", "@PARENT@")
            for name in ("environ", "cmdline", "root/etc/passwd")
        )
    ),
    "reads a file by its path": raising("open('@FOLDER@/canary').read()"),
    "reads a file the long way round": raising(
        "open('/tmp/../../../..@FOLDER@/canary').read()\n"
        "open('/dev/../proc/1/root@FOLDER@/canary').read()\n"
        "open('/proc/self/cwd/../@FOLDER@/canary').read()"
    ),
    "reads through a link of its own": raising(
        "os.symlink('@FOLDER@', '/tmp/a') or open('/tmp/a/canary').read()\n"
        "os.link('@FOLDER@/canary', '/tmp/b') or open('/tmp/b').read()"
    ),
    "reads homes and passwords": raising(
        "os.listdir(os.path.expanduser('@HOME@'))\nos.listdir('/home')\nos.listdir('/root')\n"
        "open('/etc/passwd').read()\nopen('/etc/shadow').read()\nopen('/run/secrets').read()"
    ),
    "lists the root": escaping(
        "import os\ndef escaped():\n  return set(os.listdir('/')) - set(\n"
        "    'dev lib lib64 proc python sandbox tmp usr'.split())"
    ),
    "finds an open folder": escaping(
        "import os, stat\ndef escaped():\n  for file in range(64):\n"
        "    try:\n      if stat.S_ISDIR(os.fstat(file).st_mode): return True\n"
        "    except OSError: pass"
    ),
    "reads devices": raising(
        "open('/dev/mem', 'rb')\nopen('/dev/kmsg', 'rb')\nopen('/dev/vda', 'rb')\n"
        "open('/dev/sda', 'rb')\nopen('/dev/tty')\nopen('/dev/fuse', 'rb')\n"
        "os.mknod('/tmp/d', 0o60600, os.makedev(8, 0)) or open('/tmp/d', 'rb')\nos.listdir('/sys')"
    ),
}

WRITING = {
    "writes into every folder": escaping(
        "import os\ndef escaped():\n  for folder, _, _ in os.walk('/'):\n"
        "    if folder == '/tmp': continue\n"
        "    try: open(f'{folder}/@NAME@', 'w')\n    except OSError: continue\n    return folder"
    ),
    "writes outside by path": raising(
        "open('@FOLDER@/@NAME@', 'w')\nopen('/etc/@NAME@', 'w')\nopen('/@NAME@', 'w')\n"
        "open('/var/tmp/@NAME@', 'w')\nopen('../@NAME@', 'w')\nos.mkdir('/@NAME@')"
    ),
    "leaves a file in what it takes for everyone's": Hostile(
        "open('/tmp/@NAME@', 'w').write('x')\nopen('/dev/shm/@NAME@', 'w').write('x')\n"
        "def answer(): return 1"
    ),
    "changes the code that judges it": raising(
        "open('/sandbox/understudy/sandbox/inside/judge.py', 'a')\n"
        "os.chmod('/sandbox/understudy/sandbox/inside/judge.py', 0o777)\n"
        "os.remove('/sandbox/understudy/sandbox/inside/judge.py')\n"
        "os.rename('/sandbox', '/sandbox2')\nos.utime(os.__file__)\nopen(os.__file__, 'a')"
    ),
    "makes the root its own": escaping(
        CALL + "import ctypes\ndef escaped():\n"
        "  done = [libc.mount(b'/', b'/', None, flags, None) for flags in (32, 4128, 4096)]\n"
        "  done += [libc.umount2(b'/tmp', 2), libc.umount2(b'/proc', 2), libc.chroot(b'/tmp')]\n"
        "  done += [libc.mount(b'proc', b'/proc', b'proc', 0, None)]\n  return 0 in done"
    ),
    "a shared memory that stays": escaping(
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "def escaped(): return libc.shmget(0x5a5a, 4096, 0o1666) != -1 or "
        "libc.msgget(0x5a5a, 0o1666) != -1 or libc.mq_open(b'/@NAME@', 0o102, 0o666, None) != -1"
    ),
}

POWERS = {
    "becomes root": raising(
        "os.setuid(0)\nos.setresuid(0, 0, 0)\nos.setgid(0)\nos.setgroups([0])\nos.seteuid(65534)"
    ),
    "takes capabilities": escaping(
        "import ctypes, struct\nlibc = ctypes.CDLL(None)\n"
        "header = struct.pack('=II', 0x20080522, 0)\ndef escaped():\n"
        "  return libc.capset(header, b'\\xff' * 8 + bytes(4) + b'\\xff' * 8 + bytes(4)) == 0"
    ),
    "makes namespaces": escaping(
        CALL
        + "def escaped():\n  flags = [0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000]\n"
        "  made = [call((272, 97), flag) for flag in flags]\n"
        "  made += [call((56, 220), flag | 17, 0, 0, 0, 0) for flag in flags]\n"
        "  made += [call((435, 435), 0, 0)]\n"
        "  if 0 in made: os._exit(0)\n  return max(made) >= 0"
    ),
    "every call that is refused": escaping(
        CALL + "from understudy.sandbox.inside.confine import REFUSED\ndef escaped():\n"
        "  found = [name for name, numbers in REFUSED.items()\n"
        "           if call(numbers, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1]\n"
        "  assert len(REFUSED) > 40\n  return found"
    ),
    "calls by the second set of numbers": escaping(
        CALL + "def escaped(): return call((0x40000000 | 39, 0x40000000 | 172)) != -1"
    ),
    "calls by the old door": escaping(
        "import ctypes, mmap, platform\ndef escaped():\n"
        "  if platform.machine() != 'x86_64': return False\n"
        "  code = mmap.mmap(-1, 4096, prot=7)\n"
        "  code.write(bytes.fromhex('b814000000cd80c3'))  # getpid of 32 bits\n"
        "  place = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
        "  return ctypes.CFUNCTYPE(ctypes.c_int)(place)() > 0",
        (*WRONG, *GONE),
    ),
    "runs a shell": escaping(
        "import os, subprocess\ndef escaped():\n"
        "  if os.system('echo') == 0: return True\n"
        "  for shell in ('/bin/sh', '/bin/bash', '/usr/bin/env', '/usr/bin/bwrap'):\n"
        "    try: return subprocess.run([shell, '--help']).returncode == 0 or True\n"
        "    except OSError: pass"
    ),
    "finds a program that has powers": escaping(
        "import os, stat\ndef escaped():\n  for folder, _, names in os.walk('/'):\n"
        "    for name in names:\n      mode = os.lstat(f'{folder}/{name}').st_mode\n"
        "      if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID): return name",
        WRONG,
    ),
    "raises its limits": escaping(
        "import resource as r\ndef escaped():\n"
        "  for name in ('AS', 'CPU', 'NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MEMLOCK', 'MSGQUEUE'):\n"
        "    limit = getattr(r, f'RLIMIT_{name}')\n"
        "    for most in (r.RLIM_INFINITY, r.getrlimit(limit)[1] + 1):\n"
        "      try: r.setrlimit(limit, (most, most))\n"
        "      except (OSError, ValueError): continue\n      return name"
    ),
    "takes the processor": raising(
        "os.nice(-5)\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
        "os.setpriority(os.PRIO_USER, 0, -5)"
    ),
    "changes the machine": raising(
        "socket.sethostname('mine')\ntime.clock_settime(time.CLOCK_REALTIME, 0)\n"
        "fcntl.ioctl(0, 0x5412, b'x')",
        "import fcntl, os, socket, time",
    ),
}

OTHERS = {
    "kills its parent": escaping(
        "import os\nos.kill(os.getppid(), 9)\nos.kill(0, 9)\ndef escaped(): return False",
        (*WRONG, *GONE),
    ),
    "kills who judges it": raising("os.kill(@PARENT@, 9)\nos.killpg(@PARENT@, 9)"),
    "kills everyone": escaping(
        "import os\ndef escaped():\n  killed = []\n  for pid in range(2, 40000):\n"
        "    try: os.kill(pid, 9)\n    except OSError: continue\n    killed.append(pid)\n"
        "  return killed",
    ),
    "kills all at once": escaping(
        "import os\ndef escaped():\n  try: os.kill(-1, 9)\n  except OSError: return False",
    ),
    "outlives its parent": escaping(
        "import ctypes, os\nctypes.CDLL(None).prctl(1, 0)\nfor pid in (0, os.getppid(), -1):\n"
        "  try: os.kill(pid, 9)\n  except OSError: pass\ndef escaped(): return False",
        (*WRONG, *GONE),
    ),
    "stops its group": escaping(
        "import os, signal\nos.kill(0, signal.SIGSTOP)\ndef escaped(): return False",
        (*WRONG, *GONE),
    ),
    "outlives its parent as a program": printing(
        "import ctypes, os\nctypes.CDLL(None).prctl(1, 0)\nos.kill(0, 9)\nprint(1)",
        (*WRONG, *GONE),
    ),
    "traces its parent": escaping(
        "import ctypes, os\nlibc = ctypes.CDLL(None)\ndef escaped():\n"
        "  return 0 in [libc.ptrace(how, pid, 0, 0) for how in (0, 16, 0x4206)\n"
        "               for pid in (0, 1, 2, os.getppid(), @PARENT@)]"
    ),
    "takes a file of another process": escaping(
        CALL + "def escaped():\n  for pid in (1, 2, @PARENT@):\n"
        "    file = call((434, 434), pid, 0)\n"
        "    if file >= 0 and call((438, 438), file, 0, 0) >= 0: return True"
    ),
    "limits another process": raising(
        "resource.prlimit(@PARENT@, resource.RLIMIT_CPU, (1, 1))\n"
        "os.sched_setaffinity(@PARENT@, {0})\nos.setpriority(os.PRIO_PROCESS, @PARENT@, 19)",
        "import os, resource",
    ),
}

NETWORK = {
    "reaches a port of this machine": raising(
        "socket.create_connection(('127.0.0.1', @PORT@), 1)", "import socket"
    ),
    "reaches the world": raising(
        "urllib.request.urlopen('http://example.com', timeout=1)\n"
        "socket.create_connection(('1.1.1.1', 53), 1)\nsocket.getaddrinfo('example.com', 80)",
        "import socket, urllib.request",
    ),
    "sends a datagram": raising(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@))\n"
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('::1', @PORT@))",
        "import socket",
    ),
    "opens sockets of odd kinds": escaping(
        "import socket\ndef escaped():\n  for family in [0, *range(2, 46)]:\n"
        "    for kind in (1, 2, 3):\n"
        "      try: return bool(socket.socket(family, kind))\n      except OSError: pass"
    ),
    "reaches a socket that has no path": raising(
        "socket.socket(socket.AF_UNIX).connect('\\0@NAME@')", "import socket"
    ),
    "reaches a socket by its path": raising(
        "socket.socket(socket.AF_UNIX).connect('@FOLDER@/socket')\n"
        "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')\n"
        "socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
        "import socket",
    ),
}

INTRUDERS = READING | WRITING | POWERS | OTHERS | NETWORK
