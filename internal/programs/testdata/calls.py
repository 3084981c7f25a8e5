# The calls of the C library, which return what they do or the error's name.
import ctypes, errno, os, platform, time, traceback

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]

IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE = 0o1000, 0o2000, 0o4000, 0
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
SHM_LOCK, SHM_UNLOCK, SHM_STAT, SHM_INFO, SHM_STAT_ANY = 11, 12, 13, 14, 15
MSG_STAT, MSG_INFO, MSG_STAT_ANY = 11, 12, 13
SEM_STAT, SEM_INFO, SEM_STAT_ANY = 18, 19, 20
MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000
SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SEM_UNDO = 0x1000

class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

class Sembuf(ctypes.Structure):
    _fields_ = [("num", ctypes.c_ushort), ("op", ctypes.c_short), ("flg", ctypes.c_short)]

def call(function, *args):
    ctypes.set_errno(0)
    result = getattr(libc, function)(*args)
    if result in (-1, 2**64 - 1):
        return errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())
    return result

def tell(*what):
    print(*what, flush=True)

def child(f):
    pid = os.fork()
    if pid == 0:
        try:
            f()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid

def joined(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)

# What may sleep: semop, msgsnd, msgrcv, semtimedop, mq_timedsend and
# mq_timedreceive.
SLEEPING = {"x86_64": {65, 69, 70, 220, 242, 243}, "aarch64": {182, 183, 188, 189, 192, 193}}[platform.machine()]

def asleep(pid):
    def look():
        with open(f"/proc/{pid}/syscall") as f:
            number = f.read().split()[0]
        return number.isdigit() and int(number) in SLEEPING
    until(look)
    time.sleep(0.01) # a call that is not the kernel's has to be seen first
