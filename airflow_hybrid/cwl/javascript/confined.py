# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The kernel's restrictions (seccomp) for a process that runs documents' JavaScript, and the program that starts it.

As a program, ``python -I -S confined.py NODE [ARGUMENT...]`` sets the filter and becomes Node. From then on the process
and all its threads can never: use sockets of any kind, send signals to other processes, start children or another
program, open files for writing, create, remove or change files, access other processes' memory, or use io_uring (which
would do all this without system calls). Denied calls fail with EPERM, or with ENOSYS if the C library or libuv then
uses a fallback. System calls newer than this list do not exist for it.

Source: seccomp(2), linux/filter.h; the numbers are those of asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_NEWEST = 452
_CLONE_THREAD = 0x10000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""machine -> its number in seccomp_data, and its column in the tables"""
# fmt: off
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # sockets
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "recvmmsg": (299, 243),
    # other processes
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "kcmp": (312, 272), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "bpf": (321, 280),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # children and other programs
    "fork": (57, None), "vfork": (58, None), "execveat": (322, 281),
    # the system, its file systems, and user ids
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "iopl": (172, None), "ioperm": (173, None), "vhangup": (153, 58),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
    # files
    "creat": (85, None), "mkdir": (83, None), "mkdirat": (258, 34), "mknod": (133, None), "mknodat": (259, 33),
    "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "truncate": (76, 45), "utime": (132, None),
    "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # shared memory and message queues
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
}
_MISSING: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435), "openat2": (437, 437),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}
_KILL_CALLS: tuple[tuple[int, int], ...] = ((62, 129), (234, 131), (200, 130))  # kill, tgkill, tkill
_EXECVE, _CLONE, _PRLIMIT, _IOCTL = (59, 221), (56, 220), (302, 261), (16, 29)
_OPEN: tuple[tuple[tuple[int | None, int | None], int], ...] = (((2, None), 1), ((257, 56), 2))  # open, openat: flags
# fmt: on


def available() -> bool:
    """Whether filters can be set here: the kernel supports them, and the tables cover this machine."""
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES or struct.calcsize("P") != 8:
        return False
    # a filter at the address 0: EFAULT from a kernel that would read it, EINVAL from one without filters
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0) == errno.EFAULT


def _prctl(option: int, value: int, address: int) -> int:
    """prctl(2); -> 0 or errno. Each argument is an unsigned long, which ctypes has to be told."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(address), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return ctypes.get_errno() if failed else 0


def command() -> tuple[str, ...]:
    """The command prefix that starts a program confined."""
    return (sys.executable, "-I", "-S", os.path.abspath(__file__))


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refused(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _argument(index: int, high: bool = False) -> bytes:
    return _op(_LOAD, _ARGUMENTS_AT + 8 * index + (4 if high else 0))


def _call(number: int, body: bytes) -> bytes:
    """A part of the filter for one system call. It must return."""
    return _op(_EQUAL, number, 0, len(body) // 8) + body


def filter_program(machine: str, pid: int, program_at: int) -> bytes:
    """The filter as struct sock_filter[].

    :param pid: of the process itself, the only one that it may send signals to (abort() does).
    :param program_at: the address of the program's name in the only allowed call of execve.
    """
    architecture, column = _ARCHITECTURES[machine]
    allowed, denied = _op(_RETURN, _ALLOW), _refused(errno.EPERM)
    parts = [
        _op(_LOAD, _ARCHITECTURE_AT),
        _op(_EQUAL, architecture, 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER_AT),
        _op(_GREATER, _NEWEST, 0, 1),
        _refused(errno.ENOSYS),
    ]
    for table, answer in ((_DENIED, denied), (_MISSING, _refused(errno.ENOSYS))):
        for numbers in table.values():
            number = numbers[column]
            if number is not None:
                parts.append(_call(number, answer))
    for calls in _KILL_CALLS:
        parts.append(_call(calls[column], _argument(0) + _op(_EQUAL, pid, 0, 1) + allowed + denied))
    on_itself = _argument(0) + _op(_EQUAL, 0, 1, 0) + _op(_EQUAL, pid, 0, 1) + allowed + denied
    parts.append(_call(_PRLIMIT[column], on_itself))
    low, high = program_at & 0xFFFFFFFF, program_at >> 32
    named = _argument(0) + _op(_EQUAL, low, 0, 3) + _argument(0, high=True) + _op(_EQUAL, high, 0, 1) + allowed + denied
    parts.append(_call(_EXECVE[column], named))
    parts.append(_call(_CLONE[column], _argument(0) + _op(_ANY_BIT, _CLONE_THREAD, 0, 1) + allowed + denied))
    for numbers, flags in _OPEN:
        number = numbers[column]
        if number is not None:
            parts.append(_call(number, _argument(flags) + _op(_ANY_BIT, _WRITES, 0, 1) + denied + allowed))
    typed = _argument(1) + _op(_EQUAL, _TIOCSTI, 1, 0) + _op(_EQUAL, _TIOCLINUX, 0, 1) + denied + allowed
    parts.append(_call(_IOCTL[column], typed))
    return b"".join([*parts, allowed])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _become(arguments: list[str]) -> None:
    """Set the filter and replace this program by another one with an empty environment.

    The filter recognises the allowed execve by the address of its program's name: the first byte of a page. Node's own
    strings are on its heap or stack and never begin there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = [os.fsencode(argument) for argument in arguments]
    page = mmap.mmap(-1, max(mmap.PAGESIZE, len(encoded[0]) + 1))
    page.write(encoded[0] + b"\0")
    program_at = ctypes.addressof(ctypes.c_char.from_buffer(page))
    argv = (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
    environment = (ctypes.c_char_p * 1)(None)
    code = filter_program(platform.machine(), os.getpid(), program_at)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    failure = _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0) or _prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program)
    )
    if failure:
        raise OSError(failure, "the kernel refused the filter of system calls")
    libc.execve(ctypes.c_void_p(program_at), argv, environment)
    raise OSError(ctypes.get_errno(), "cannot be started", arguments[0])


if __name__ == "__main__":
    try:
        _become(sys.argv[1:])
    except OSError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
