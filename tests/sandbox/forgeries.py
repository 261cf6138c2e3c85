"""Programs that want to be called right without being so."""

from __future__ import annotations

from tests.sandbox.hostile import (
    FOUND,
    GONE,
    LATE,
    LOUD,
    WRONG,
    Hostile,
    printing,
)

# A class whose instances agree with whatever is asked of them.
YES = """
class Yes{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __mod__ = __sub__
    def __abs__(self): return 0
    __int__ = __float__ = __index__ = __round__ = __abs__
    def __bool__(self): return True
def answer(*args): return Yes({value})
"""

# Frames as the two processes exchange them, on the file that leads to the judge.
FRAME = """
import json, os, struct
def frame(message):
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body
CONTROL = 3
DEFINED = frame({"value": {"dict": [["answer", {"kept": 0}]]}})
"""

# Where a text that starts like the secret might be found.
SEEK = """
import re
def found(data):
    if isinstance(data, str):
        data = data.encode("utf-8", "replace")
    match = re.search(rb"secret-" + rb"[0-9]{12}", data)
    return match and match[0].decode()
"""


def yes(base: str = "", value: str = "", test: str = "assert answer() == @SECRET@") -> Hostile:
    return Hostile(YES.format(base=f"({base})" if base else "", value=value), tests=[test])


def sending(source: str, *may: str) -> Hostile:
    return Hostile(FRAME + source, may or WRONG)  # type: ignore[arg-type]


def seeking(source: str, may: tuple[str, ...] = WRONG) -> Hostile:
    return Hostile(SEEK + source, may, tests=[FOUND])  # type: ignore[arg-type]


LEAVING = {
    "leaves with 0 when defined": Hostile("import os\nos._exit(0)", GONE),
    "leaves with 0 when called": Hostile("import os\ndef answer(): os._exit(0)", GONE),
    "ends Python when defined": Hostile("raise SystemExit(0)"),
    "ends Python when called": Hostile("import sys\ndef answer(): sys.exit(0)"),
    "interrupts": Hostile("def answer(): raise KeyboardInterrupt"),
    "closes the generator that is not there": Hostile("def answer(): raise GeneratorExit"),
    "stops the iteration": Hostile("def answer(): raise StopIteration(42)"),
    "replaces itself": sending(
        "code = 'import os\\nwhile True: os.read(3, 1 << 16); os.write(3, %r)'\n"
        "code %= frame({'value': True})\n"
        "libraries = {'LD_LIBRARY_PATH': '/python/libraries'}\n"
        "os.set_inheritable(3, True)\n"
        "def answer(): os.execve('/python/bin/python', ['p', '-S', '-c', code], libraries)",
        *WRONG,
        *GONE,
    ),
    "answers twice from two processes": Hostile("import os\ndef answer(): os.fork(); return 1"),
    "lives on in a child": Hostile(
        "import os\ndef answer():\n  if os.fork(): os._exit(0)\n  return 1", (*WRONG, *GONE)
    ),
}

LYING = {
    "equals everything": yes(),
    "an int that equals everything": yes("int", "7"),
    "a text that equals everything": yes("str", "'7'", "assert answer() == '@SECRET@'"),
    "a list that equals everything": yes("list", "[7]", "assert answer() == [@SECRET@]"),
    "a tuple that equals everything": yes("tuple", "[7]", "assert answer() == (@SECRET@,)"),
    "a dict that equals everything": yes("dict", "{7: 7}", "assert answer() == {7: @SECRET@}"),
    "a set that equals everything": yes("set", "{7}", "assert answer() == {@SECRET@}"),
    "a float that equals everything": yes("float", "7.5", "assert answer() == @SECRET@.5"),
    "differs from nothing": yes(test="assert not answer() != @SECRET@"),
    "is as small and as great": yes(test="assert answer() <= @SECRET@ <= answer()"),
    "is near": yes(test="assert abs(answer() - @SECRET@) < 1e-6"),
    "is close": yes(test="import math\nassert math.isclose(answer(), @SECRET@)"),
    "is in a set": yes(test="assert answer() in {0, @SECRET@}"),
    "is in a list": yes(test="assert answer() in [@SECRET@]"),
    "holds everything": yes(test="assert @SECRET@ in answer()"),
    "claims to be a number": Hostile(
        "class Yes:\n  __class__ = property(lambda self: int)\n"
        "  def __eq__(self, other): return True\ndef answer(): return Yes()",
        tests=["assert isinstance(answer(), int) and answer() == @SECRET@"],
    ),
    "is of a class that everything is of": Hostile(
        "class M(type):\n  def __instancecheck__(self, value): return True\n"
        "  def __eq__(self, other): return True\n  __hash__ = type.__hash__\n"
        "class Yes(metaclass=M): pass\ndef answer(): return Yes",
        tests=["assert isinstance(@SECRET@, answer()) or answer() == int"],
    ),
    "an error with a text without end": Hostile(
        "class E(Exception):\n  def __str__(self):\n    while True: pass\ndef answer(): raise E",
        LATE,
    ),
    "an error under a false name": Hostile(
        "class E(BaseException): pass\nE.__name__ = 'SystemExit'\nE.__module__ = 'builtins'\n"
        "def answer(): raise E('\\x1b[2J\\npassed\\ud800')",
    ),
}

PATCHING = {
    "patches Python's own functions": Hostile(
        "import builtins\nfor name in ('all', 'any', 'sorted', 'abs', 'repr', 'int'):\n"
        "  setattr(builtins, name, lambda *a, **k: True)\n"
        "builtins.AssertionError = None\ndef answer(): return 1",
        tests=["assert isinstance(answer(), str) and all([answer() == @SECRET@])"],
    ),
    "empties Python's own functions": Hostile(
        "import builtins\nbuiltins.__dict__.clear()\ndef answer(): return 1", (*WRONG, *GONE)
    ),
    "lends the tests its own sorted": Hostile(
        YES.format(base="", value="") + "def sorted(x): return Yes()\nall = abs = sorted",
        tests=["assert sorted([answer()]) == [@SECRET@]"],
    ),
    "lends the tests its own math": Hostile(
        "class math: isclose = staticmethod(lambda *args: True)\ndef answer(): return 1",
        tests=["assert math.isclose(answer(), @SECRET@)"],
    ),
    "patches the module that the tests use": Hostile(
        "import math\nmath.isclose = lambda *args: True\ndef answer(): return 1",
        tests=["import math\nassert math.isclose(answer(), @SECRET@)"],
    ),
    "puts modules under false names": Hostile(
        "import sys\nclass Any:\n  def __getattr__(self, name): return lambda *a, **k: True\n"
        "for name in list(sys.modules):\n  sys.modules[name] = Any()\ndef answer(): return 1",
    ),
    "turns asserts off": Hostile(
        "import ctypes\nctypes.c_int.in_dll(ctypes.pythonapi, 'Py_OptimizeFlag').value = 2\n"
        "def answer(): return 1",
    ),
    "patches what speaks with the judge": Hostile(
        "import sys\nfor name, module in list(sys.modules.items()):\n"
        "  if name.endswith('wire'):\n    module.encode = lambda value, keep: {'passed': [True]}\n"
        "def answer(): return 1",
    ),
    "patches its caller": Hostile(
        YES.format(base="", value="") + "import sys\nframe = sys._getframe()\n"
        "while frame:\n  for name in ('APPLY', 'described', 'wire'):\n"
        "    if name in frame.f_globals:\n      frame.f_globals[name] = {'call': Yes}\n"
        "  frame = frame.f_back",
        (*WRONG, *GONE),
    ),
    "finds its caller among all objects": Hostile(
        "import gc\nfor each in gc.get_objects():\n"
        "  if type(each).__name__ == 'Subject':\n"
        "    type(each).apply = lambda *a, **k: True\n    type(each).encode = lambda s, v: True\n"
        "def answer(): return 1",
    ),
    "traces its caller": Hostile(
        "import sys\ndef trace(frame, event, value):\n"
        "  if 'error' in frame.f_locals: frame.f_locals['error'] = None\n  return trace\n"
        "sys.settrace(trace)\nsys.setprofile(trace)\ndef answer(): raise ValueError",
    ),
}

SENDING = {
    "answers for the judge": sending(
        "told = {'outcome': 'passed', 'detail': '', 'share': 1.0, 'seconds': 0, 'stdout': ''}\n"
        "for file in range(40):\n  try: os.write(file, frame(told))\n  except OSError: pass\n"
        "def answer(): return 1",
    ),
    "answers ahead": sending(
        "os.write(CONTROL, DEFINED + 500 * frame({'value': True}))\ndef answer(): return True"
    ),
    "says that it has ended well": sending(
        "for file in (0, 4, 5, 6, 7):\n  try: os.write(file, b'status 0\\n')\n"
        "  except OSError: pass\nos._exit(0)",
        *GONE,
    ),
    "sends nonsense": sending(
        "os.write(CONTROL, DEFINED + 99 * b'\\0\\0\\0\\5{oops')\ndef answer(): return 1"
    ),
    "sends what is too deep": sending(
        "body = b'[' * 30000\nos.write(CONTROL, struct.pack('!I', len(body)) + body)\n"
        "def answer(): return 1",
    ),
    "sends no dict": sending("os.write(CONTROL, frame([1, 2]))\ndef answer(): return 1", *GONE),
    "sends keys that cannot be": sending(
        "os.write(CONTROL, DEFINED + frame({'value': {'dict': [[{'dict': []}, 1]]}}))\n"
        "def answer(): return 1",
    ),
    "calls back what it was never given": sending(
        "os.write(CONTROL, DEFINED + frame({'callback': -1, 'args': []}))\ndef answer(): return 1"
    ),
    "calls back by a name": sending(
        "os.write(CONTROL, DEFINED + frame({'callback': '__class__', 'args': [1]}))\n"
        "def answer(): return 1",
    ),
    "claims objects that are not there": sending(
        "os.write(CONTROL, DEFINED + frame({'value': {'kept': -(10 ** 9)}}))\ndef answer(): pass"
    ),
    "changes what it was not given": Hostile(
        FRAME + "os.write(CONTROL, DEFINED + frame({'value': [1], 'args': [[1], [1], [1], [1]]}))\n"
        "def answer(given): return [1]",
        tests=["given, wanted = [0], [@SECRET@]\nassert answer(given) == wanted"],
    ),
    "keys that collide": sending(
        "keys = [i * ((1 << 61) - 1) for i in range(1, 1500)]\ndef answer(): return set(keys)",
    ),
    "interrupts with a thread's answers": sending(
        "import threading\ndef talk():\n  while True: os.write(CONTROL, frame({'value': 1}))\n"
        "threading.Thread(target=talk, daemon=True).start()\ndef answer(): return 1",
        *WRONG,
        *GONE,
        *LOUD,
    ),
    "closes every file": Hostile(
        "import os\nos.closerange(0, 65536)\ndef answer(): return 1", GONE
    ),
    "closes every file when called": Hostile(
        "import os\ndef answer(): os.closerange(0, 65536)", GONE
    ),
    "swaps its files": Hostile("import os\nos.dup2(1, 3)\ndef answer(): return 1", (*GONE, *LATE)),
}

READING = {
    "reads the tests off the stack": seeking(
        "import sys\ndef answer():\n  frame, texts = sys._getframe(), []\n  while frame:\n"
        "    texts += [repr(frame.f_locals), repr(frame.f_globals)]\n    frame = frame.f_back\n"
        "  return found(''.join(texts))",
    ),
    "reads the tests among all objects": seeking(
        "import gc\ndef answer():\n  for each in gc.get_objects():\n"
        "    if isinstance(each, (dict, list, tuple)) and (text := found(repr(each))):\n"
        "      return text",
    ),
    "reads the tests out of memory": seeking(
        "import ctypes, os\ndef answer():\n  read, write = os.pipe()\n"
        "  libc, start = ctypes.CDLL(None), id(object()) & ~0xfff\n"
        "  for page in range(start - (4 << 20), start + (4 << 20), 4096):\n"
        "    if libc.write(write, ctypes.c_void_p(page), 4096) == 4096:\n"
        "      if text := found(os.read(read, 4096)): return text",
    ),
    "reads the tests out of its files": seeking(
        "import os, select\ndef answer():\n  for file in range(64):\n"
        "    try:\n      while select.select([file], [], [], 0)[0]:\n"
        "        data = os.read(file, 1 << 16)\n"
        "        if text := found(data): return text\n        if not data: break\n"
        "    except OSError: continue",
    ),
    "reads the tests off the disk": seeking(
        "import os\ndef answer():\n  for folder, _, names in os.walk('/'):\n"
        "    if folder.startswith('/python'): continue\n    for name in names:\n"
        "      try: text = found(open(f'{folder}/{name}', 'rb').read(1 << 20))\n"
        "      except OSError: continue\n      if text: return text",
        (*WRONG, *LATE),
    ),
    "reads the tests out of other processes": seeking(
        "import os\ndef answer():\n  for pid in ['self', *map(str, range(1, 99))]:\n"
        "    for name in ('mem', 'environ', 'cmdline', 'maps', 'stack', 'fd/0'):\n"
        "      try: text = found(open(f'/proc/{pid}/{name}', 'rb').read())\n"
        "      except OSError: continue\n      if text: return text",
    ),
}

PRINTING = {
    "prints nothing and leaves with 0": printing("import os\nos._exit(0)"),
    "says on every file that it passed": printing(
        "import os\nfor file in range(40):\n  try: os.write(file, b'status 0\\npassed\\n')\n"
        "  except OSError: pass",
    ),
    "prints what is no text": printing("import os\nos.write(1, bytes(range(256)))"),
    "closes what it should print to": printing("import os\nos.close(1)\nos.close(2)\nos._exit(0)"),
    "leaves someone to print later": printing(
        "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\ntime.sleep(0.2)\nprint(1)"
    ),
}

FORGERIES = LEAVING | LYING | PATCHING | SENDING | READING | PRINTING
