"""Programs that take all there is, or do not end, or leave something behind."""

from __future__ import annotations

from tests.sandbox.hostile import BIG, GONE, LATE, LOUD, WRONG, Hostile, printing

DAEMON = """
import ctypes, os, time
def daemon():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    ctypes.CDLL(None).prctl(15, b"@NAME@")
    for file in range(64):
        try: os.close(file)
        except OSError: pass
    time.sleep(1000)
"""

PROCESSES = {
    "fork bomb": Hostile(
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", (*LATE, *GONE, *BIG)
    ),
    "fork bomb that gives up": Hostile(
        "import os\nwhile True: os.fork()", (*WRONG, *GONE, *LATE, *BIG)
    ),
    "thread bomb": Hostile(
        "import threading, time\nwhile True:\n"
        "  threading.Thread(target=time.sleep, args=(1000,)).start()",
        (*WRONG, *BIG),
    ),
    "ended processes by the thousand": Hostile(
        "import os\nfor _ in range(1000):\n  if not os.fork(): os._exit(0)"
    ),
    "children that nobody counts": Hostile(
        "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n"
        "  if not os.fork():\n    end = time.process_time() + 0.02\n"
        "    while time.process_time() < end: pass\n    os._exit(0)\n  time.sleep(0.01)",
        (*LATE, *WRONG, *BIG),
    ),
    "leaves a daemon when defined": Hostile(DAEMON + "daemon()\ndef answer(): return 1"),
    "leaves daemons when called": Hostile(
        DAEMON + "def answer():\n  for _ in range(5): daemon()\n  return 1"
    ),
    "leaves a daemon as a program": printing(DAEMON + "daemon()\nprint(1)"),
    "all the files it may open": Hostile(
        "files = []\nwhile True: files.append(open('/dev/null'))\n"
    ),
}

MEMORY = {
    "memory at once": Hostile("def answer(): return len(bytearray(1 << 36))", BIG),
    "memory piece by piece": Hostile("x = []\nwhile True: x.append(bytes(1 << 24))", BIG),
    "memory by doubling": Hostile("x = 'ab'\nwhile True: x += x", BIG),
    "memory of several processes": Hostile(
        "import os, time\nfor _ in range(6):\n  if not os.fork(): break\n"
        "x = bytearray(40 << 20)\ntime.sleep(60)",
        (*BIG, *LATE),
    ),
    "memory that is shared": Hostile(
        "import mmap\nparts = []\nwhile True: parts.append(mmap.mmap(-1, 1 << 24))", WRONG + BIG
    ),
    "memory in its folder": Hostile("open('/tmp/x', 'wb').write(bytes(1 << 25))"),
    "memory in many files": Hostile("for i in range(10 ** 6): open(f'/tmp/{i}', 'wb').close()"),
    "memory in links": Hostile(
        "import os\nfor i in range(10 ** 6): os.symlink('x' * 4000, f'/tmp/{i}')"
    ),
    "a file with a hole": Hostile("open('/tmp/x', 'wb').truncate(1 << 40)"),
    "memory in pipes": Hostile(
        "import fcntl, os\npipes = []\nwhile True:\n  pipes.append(os.pipe())\n"
        "  os.set_blocking(pipes[-1][1], False)\n  os.write(pipes[-1][1], bytes(1 << 16))"
    ),
    "a list in itself": Hostile("x = []\nx.append(x)\ndef answer(): return x"),
    "a range for the tests to list": Hostile(
        "def answer(): return range(10 ** 12)", BIG, tests=["assert list(answer()) == [@SECRET@]"]
    ),
}

NUMBERS = {
    "a tower of powers": Hostile("def answer(): return 9 ** 9 ** 9", LATE),
    "a number of a million digits": Hostile("def answer(): return 1 << 4_000_000", LOUD),
    "a number as text": Hostile("def answer(): return str(1 << 400_000)"),
    "digits that take long": Hostile(
        "import sys\nsys.set_int_max_str_digits(0)\ndef answer(): return len(str(1 << 30_000_000))",
        LATE,
    ),
    "a decimal for the tests to write out": Hostile(
        "from decimal import Decimal\ndef answer(): return Decimal('1e9999999')",
        tests=["assert answer() == @SECRET@"],
    ),
    "recursion": Hostile("def answer(): return answer()"),
    "recursion without a limit": Hostile(
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef answer(): return [answer()]",
        (*WRONG, *GONE, *BIG),
    ),
    "recursion in a text of Python": Hostile(
        "def answer(): return eval('(' * 90000 + ')' * 90000)", (*WRONG, *BIG, *GONE)
    ),
    "a source that is too deep": Hostile("-" * 50_000 + "1", (*WRONG, *BIG, *GONE)),
    "a source that is no text": Hostile("\x00\ud800\ufeff\x1b]0;x\x07"),
    "a value that is too deep": Hostile(
        "x = []\nfor _ in range(100_000): x = [x]\ndef answer(): return x", (*WRONG, *GONE)
    ),
    "a search that never ends": Hostile(
        "import re\ndef answer(): return re.match('(a*)*b', 'a' * 99)", LATE
    ),
}

OUTPUT = {
    "prints for ever": Hostile("while True: print('x' * 1000)", LOUD),
    "complains for ever": Hostile(
        "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", LOUD
    ),
    "prints for ever as a program": printing("while True: print('x' * 1000)", LOUD),
    "returns too much": Hostile("def answer(): return 'x' * (1 << 24)", (*LOUD, *BIG)),
    "yields for ever": Hostile(
        "def answer():\n  while True: yield 'x' * 1000",
        LOUD,
        tests=["assert list(answer()) == [@SECRET@]"],
    ),
    "an error too long to tell": Hostile("def answer(): raise ValueError('x' * (1 << 22))"),
}

WAITING = {
    "waits for someone to type": Hostile("def answer(): return input()"),
    "hears no signal": Hostile(
        "import signal\nfor number in range(1, 65):\n"
        "  try: signal.signal(number, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
        "def answer():\n  while True: pass",
        LATE,
    ),
    "computes for ever at its end": printing(
        "import atexit\n@atexit.register\ndef last():\n  while True: pass", LATE
    ),
    "computes for ever when thrown away": Hostile(
        "class Last:\n  def __del__(self):\n    while True: pass\ndef answer(): Last()", LATE
    ),
    "computes for ever when collected": Hostile(
        "import gc\ndef again(*args):\n  while True: pass\ngc.callbacks.append(again)\n"
        "def answer(): gc.collect()",
        LATE,
    ),
    "computes for ever when compared": Hostile(
        "class Slow:\n  def __bool__(self):\n    while True: pass\ndef answer(): return Slow()",
        LATE,
        tests=["assert answer()"],
    ),
    "sleeps": Hostile("import time\ndef answer(): time.sleep(10 ** 6)", LATE),
    "sleeps as a program": printing("import time\ntime.sleep(10 ** 6)", LATE),
    "waits for itself": Hostile(
        "import threading\nlock = threading.Lock()\nlock.acquire()\ndef answer(): lock.acquire()",
        LATE,
    ),
    "never listens": Hostile(
        "import json, os, struct, time\n"
        "body = json.dumps({'value': {'dict': [['answer', {'kept': 0}]]}}).encode()\n"
        "os.write(3, struct.pack('!I', len(body)) + body)\ntime.sleep(10 ** 6)",
        LATE,
        tests=["assert answer('x' * 3_000_000) == @SECRET@"],
    ),
    "a thread that never ends": printing(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(10 ** 6,)).start()",
        LATE,
    ),
    "announces what never comes": Hostile(
        "import os\nos.write(3, b'\\xff\\xff\\xff\\xff')\ndef answer(): return 1", LATE
    ),
}

DYING = {
    "reads address 0": Hostile("import ctypes\ndef answer(): ctypes.string_at(0)", GONE),
    "aborts": Hostile("import os\ndef answer(): os.abort()", GONE),
    "breaks Python's own objects": Hostile(
        "import ctypes\ndef answer():\n  ctypes.memset(id(None), 0, 64)\n  return None",
        (*GONE, *WRONG),
    ),
    "jumps to nowhere": Hostile("import ctypes\ndef answer(): ctypes.CFUNCTYPE(None)(8)()", GONE),
}

GLUTTONS = PROCESSES | MEMORY | NUMBERS | OUTPUT | WAITING | DYING
