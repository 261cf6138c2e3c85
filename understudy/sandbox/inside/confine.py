"""What the kernel is asked to keep a program from. Only the standard library's ctypes is needed."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
NEW_MOUNTS, NEW_CGROUP, NEW_HOST_NAME = 0x20000, 0x2000000, 0x4000000
NEW_IPC, NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x8000000, 0x10000000, 0x20000000, 0x40000000
NAMESPACES = NEW_MOUNTS | NEW_CGROUP | NEW_HOST_NAME | NEW_IPC | NEW_USERS | NEW_PROCESSES

CAPABILITY_VERSION = 0x20080522
EPERM, ENOSYS = 1, 38

# A system call that a program is refused: its number on x86_64, on aarch64. What they have in
# common: namespaces and mounts, other processes' memory, memory that no limit counts, channels
# that outlive a process, and the parts of the kernel where the way out has been found before.
REFUSED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "personality": (135, 92),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "vmsplice": (278, 75), "splice": (275, 76), "tee": (276, 77), "seccomp": (317, 277),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "acct": (163, 89),
    "swapon": (167, 224), "quotactl": (179, 60), "reboot": (169, 142), "syslog": (103, 116),
    "fanotify_init": (300, 262),
}  # fmt: skip
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # audit's number; our column
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
X32 = 0x40000000  # a second set of numbers for the same calls

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16


def checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int = 0) -> None:
    unused = ctypes.c_ulong(0)
    result = LIBC.prctl(option, ctypes.c_ulong(value), unused, unused, unused)
    checked(result, f"prctl {option}")


def die_with_parent() -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents died."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """No other process of this user may trace this one or read its /proc files."""
    prctl(PR_SET_DUMPABLE, 0)


def limit(name: str, value: int) -> None:
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def limit_memory(count: int) -> None:
    """Address space above what this process has already."""
    with open("/proc/self/statm", encoding="ascii") as file:
        limit("AS", int(file.read().split()[0]) * resource.getpagesize() + count)


def limit_program(seconds: float, memory: int, files: int, disk: int) -> None:
    limit_memory(memory)
    most = int(seconds) + 2  # of each process, should nobody watch it
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))  # equal ones would kill, not tell why
    limit("NOFILE", files)
    limit("FSIZE", disk)
    for name in ("CORE", "MEMLOCK", "MSGQUEUE"):
        limit(name, 0)


def enter_namespaces(disk: int) -> None:
    """Leave for new namespaces (processes: from the next fork on), with an empty /tmp and /proc.

    The user has no powers there in the end; `drop_powers` sees to that.
    """
    user, group = os.geteuid(), os.getegid()
    prctl(PR_SET_DUMPABLE, 1)  # or the files below belong to root
    checked(LIBC.unshare(NAMESPACES), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"1000 {user} 1"),
        ("gid_map", f"1000 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    closed = MS_NOSUID | MS_NODEV | MS_NOEXEC
    options = f"size={disk},nr_inodes=4096,mode=0700".encode()
    checked(LIBC.mount(b"tmpfs", b"/tmp", b"tmpfs", closed, options), "mount /tmp")
    empty = b"size=4096,nr_inodes=1,mode=0500"
    checked(LIBC.mount(b"tmpfs", b"/proc", b"tmpfs", closed | MS_RDONLY, empty), "mount /proc")


def drop_powers() -> None:
    """No capability in any set, and no program that could bring one."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = struct.pack("=II", CAPABILITY_VERSION, 0)
    checked(LIBC.capset(header, bytes(24)), "capset")


def refuse_system_calls() -> None:
    audit, column = MACHINES[platform.machine()]

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    def refuse(number: int) -> bytes:
        return step(RETURN, ERRNO | number)

    steps = [
        step(LOAD, ARCHITECTURE),
        step(EQUAL, audit, 1, 0),
        step(RETURN, KILL),
        step(LOAD, NUMBER),
        step(AT_LEAST, X32, 0, 1),
        refuse(ENOSYS),
    ]
    for numbers in REFUSED.values():
        steps += [step(EQUAL, numbers[column], 0, 1), refuse(EPERM)]
    # clone3 keeps its flags in memory, where no filter sees them; glibc then falls back to clone.
    steps += [step(EQUAL, CLONE3[column], 0, 1), refuse(ENOSYS)]
    steps += [
        step(EQUAL, CLONE[column], 0, 4),
        step(LOAD, FIRST_ARGUMENT),
        step(ANY_BIT, NAMESPACES | NEW_NETWORK, 0, 1),
        refuse(EPERM),
        step(RETURN, ALLOW),
        step(EQUAL, SOCKET[column], 0, 3),
        step(LOAD, FIRST_ARGUMENT),
        step(EQUAL, 1, 1, 0),  # unix sockets only
        refuse(EPERM),
        step(RETURN, ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(steps))
    described = struct.pack("@HP", len(steps), ctypes.addressof(program))
    mode = ctypes.c_ulong(2)  # a filter
    result = LIBC.prctl(PR_SET_SECCOMP, mode, described, ctypes.c_ulong(0), ctypes.c_ulong(0))
    checked(result, "seccomp")
