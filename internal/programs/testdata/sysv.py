# System V IPC, call by call.
import ctypes, os, signal, struct, threading, time
from calls import *

buffer = ctypes.create_string_buffer(1 << 16)

def snd(queue, type, text, flags=0):
    message = struct.pack("l", type) + text
    return call("msgsnd", queue, message, len(text), flags)

def rcv(queue, size, type, flags=0):
    n = call("msgrcv", queue, buffer, size, type, flags)
    if not isinstance(n, int):
        return n
    return struct.unpack_from("l", buffer)[0], buffer.raw[8:8 + n]

def op(set, *operations):
    return call("semop", set, (Sembuf * len(operations))(*operations), len(operations))

def timedop(set, timeout, *operations):
    return call("semtimedop", set, (Sembuf * len(operations))(*operations), len(operations), ctypes.byref(Timespec(*timeout)))

tell("-- message queues")
queue = call("msgget", 42, IPC_CREAT | IPC_EXCL | 0o600)
tell(queue, call("msgget", 42, IPC_CREAT | IPC_EXCL), call("msgget", 42, 0), call("msgget", 43, 0))
tell(snd(queue, 1, b"one"), snd(queue, 2, b""), snd(queue, 3, b"x" * 8192), snd(queue, 3, b"x" * 8193), snd(queue, 0, b""), snd(queue, -1, b""))
tell(call("msgsnd", queue, None, 1, IPC_NOWAIT), call("msgsnd", queue, b"", ctypes.c_size_t(-1), 0), call("msgsnd", 999, buffer, 1, 0))
tell(rcv(queue, 100, 0, MSG_COPY | IPC_NOWAIT), rcv(queue, 100, 1, MSG_COPY | IPC_NOWAIT), rcv(queue, 100, 9, MSG_COPY | IPC_NOWAIT), rcv(queue, 100, 0, MSG_COPY))
tell(rcv(queue, 2, 1), rcv(queue, 2, 1, MSG_NOERROR), rcv(queue, 100, 1, MSG_EXCEPT))
tell(rcv(queue, 8192, 3)[1] == b"x" * 8192, rcv(queue, 100, 0, IPC_NOWAIT))
tell(call("msgrcv", queue, ctypes.c_void_p(8), 100, 0, IPC_NOWAIT), snd(queue, 7, b"lost?"), call("msgrcv", queue, ctypes.c_void_p(8), 100, 0, IPC_NOWAIT), rcv(queue, 100, 0, IPC_NOWAIT))
tell(call("msgctl", queue, IPC_STAT, buffer), call("msgctl", queue, 99, buffer), call("msgctl", queue, IPC_STAT, ctypes.c_void_p(8)), call("msgctl", 999, IPC_STAT, buffer))
tell(call("msgctl", 0, MSG_INFO, buffer), struct.unpack_from("8i", buffer), call("msgctl", 0, IPC_INFO, buffer), struct.unpack_from("8i", buffer))
tell(call("msgctl", 0, MSG_STAT, buffer), call("msgctl", 0, MSG_STAT_ANY, buffer), call("msgctl", 5, MSG_STAT, buffer))

tell("-- threads, and signals to a process that waits")
got = []
threads = [threading.Thread(target=lambda n=n: got.append((n, call("msgrcv", queue, ctypes.create_string_buffer(100), 10, n, 0)))) for n in range(1, 6)]
for t in threads:
    t.start()
for n in range(5, 0, -1):
    snd(queue, n, b"t" * n)
for t in threads:
    t.join()
tell(sorted(got))
for flags in 0, 0x10000000: # SA_RESTART
    def waits():
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR1, flags == 0)
        tell("interrupted" if flags == 0 else "restarting", call("msgrcv", queue, buffer, 10, 0, 0))
    pid = child(waits)
    asleep(pid)
    os.kill(pid, signal.SIGUSR1)
    tell(joined(pid))
pid = child(lambda: tell("stopped, continued", rcv(queue, 10, 0)))
asleep(pid)
os.kill(pid, signal.SIGSTOP)
os.waitpid(pid, os.WUNTRACED)
os.kill(pid, signal.SIGCONT)
time.sleep(0.05)
snd(queue, 5, b"after")
tell(joined(pid))
pid = child(lambda: rcv(queue, 10, 0))
asleep(pid)
os.kill(pid, signal.SIGKILL)
tell(joined(pid), snd(queue, 1, b"not taken"), rcv(queue, 10, 0, IPC_NOWAIT))

tell("-- order of many")
pids = []
for n in range(5):
    pids.append(child(lambda: snd(queue, 100 + rcv(queue, 100, 1)[1][0], b"")))
    asleep(pids[-1])
for n in range(5):
    snd(queue, 1, bytes([n]))
tell([joined(pid) for pid in pids], [rcv(queue, 0, 100 + n) for n in range(5)])
tell(call("msgctl", queue, IPC_RMID, None), call("msgctl", queue, IPC_RMID, None), snd(queue, 1, b""))

tell("-- semaphores")
set = call("semget", 42, 3, IPC_CREAT | IPC_EXCL | 0o600)
tell(set, call("semget", 42, 4, 0), call("semget", 42, 0, 0), call("semget", 43, 0, IPC_CREAT), call("semget", 43, -1, IPC_CREAT))
tell(op(set, (0, 1, 0), (1, 2, 0)), op(set, (0, -2, IPC_NOWAIT)), op(set, (3, 1, 0)), op(set), call("semop", set, None, 1), call("semop", 999, (Sembuf * 1)((0, 1, 0)), 1))
tell(timedop(set, (0, 30_000_000), (0, -5, 0)), timedop(set, (0, -1), (0, -5, 0)), timedop(set, (0, 1_000_000_000), (0, -5, 0)), timedop(set, (-1, 0), (0, -5, 0)), timedop(set, (0, 0), (0, -1, 0)))
begin = time.monotonic()
tell(timedop(set, (0, 200_000_000), (2, -1, 0)), 0.2 <= time.monotonic() - begin < 2)
values = (ctypes.c_ushort * 3)()
tell(call("semctl", set, 0, GETALL, values), list(values), call("semctl", set, 1, GETVAL), call("semctl", set, 3, GETVAL), call("semctl", set, 0, GETPID) == os.getpid())
tell(call("semctl", set, 0, SETALL, (ctypes.c_ushort * 3)(7, 8, 40000)), call("semctl", set, 0, SETALL, (ctypes.c_ushort * 3)(7, 8, 9)), call("semctl", set, 0, GETVAL))
tell(call("semctl", set, 0, SETVAL, -1), call("semctl", set, 0, SETVAL, 32768), call("semctl", set, 0, SETVAL, 32767), op(set, (0, 1, 0)))
tell(call("semctl", 0, 0, IPC_INFO, buffer), struct.unpack_from("10i", buffer), call("semctl", 0, 0, SEM_INFO, buffer), struct.unpack_from("10i", buffer)[7], struct.unpack_from("10i", buffer)[9])
pid = child(lambda: tell(timedop(set, (20, 0), (2, -10, 0))))
until(lambda: call("semctl", set, 2, GETNCNT) == 1)
tell(op(set, (2, 1, 0)), joined(pid), call("semctl", set, 2, GETVAL), call("semctl", set, 2, GETPID) == pid)

tell("-- undoing, by threads and at the end of processes")
tell(call("semctl", set, 0, SETALL, (ctypes.c_ushort * 3)(5, 5, 5)))
def by_threads():
    ts = [threading.Thread(target=op, args=(set, (n, -1, SEM_UNDO))) for n in (0, 1, 2, 0)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    tell("in it", [call("semctl", set, n, GETVAL) for n in range(3)])
tell(joined(child(by_threads)), [call("semctl", set, n, GETVAL) for n in range(3)])
def grandparent():
    op(set, (0, -5, SEM_UNDO))
    tell("child of one that undoes", joined(child(lambda: op(set, (1, -1, SEM_UNDO)))), [call("semctl", set, n, GETVAL) for n in range(3)])
tell(joined(child(grandparent)), [call("semctl", set, n, GETVAL) for n in range(3)])
pid = child(lambda: tell("ends with", op(set, (0, -30, 0))))
until(lambda: call("semctl", set, 0, GETNCNT) == 1)
tell(call("semctl", set, 0, IPC_RMID), joined(pid), call("semctl", set, 0, IPC_RMID))

tell("-- segments")
segment = call("shmget", 42, 10000, IPC_CREAT | IPC_EXCL | 0o600)
tell(segment, call("shmget", 42, 10001, 0), call("shmget", 42, 1, 0) == segment, call("shmget", 43, 0, IPC_CREAT), call("shmget", 43, 1, 0))
def nattch():
    call("shmctl", segment, IPC_STAT, buffer)
    return struct.unpack_from("l", buffer, 48 + 8 + 24 + 8)[0]
address = call("shmat", segment, None, 0)
tell(address % 4096, nattch(), ctypes.string_at(address, 3))
ctypes.memmove(address, b"written", 7)
again = call("shmat", segment, None, SHM_RDONLY)
tell(again != address, nattch(), ctypes.string_at(again, 7))
tell(call("shmat", segment, 4097, 0), call("shmat", 999, None, 0), call("shmdt", 4096 * 7), call("shmdt", address + 1))
place = 0x2000000000
tell(call("shmat", segment, place, 0) == place, call("shmat", segment, place + 5, SHM_RND), call("shmat", segment, place + 5, SHM_RND | SHM_REMAP) == place, ctypes.string_at(place, 7), nattch())
tell(call("shmat", segment, None, SHM_REMAP), call("shmdt", place), nattch())
def looks():
    tell("forked", nattch(), ctypes.string_at(address, 7))
    tell(call("shmdt", again), nattch())
    ctypes.memmove(address + 100, b"child", 5)
tell(joined(child(looks)), nattch(), ctypes.string_at(again + 100, 5))
def writes():
    ctypes.memmove(again, b"x", 1)
tell("a write where it may only read:", joined(child(writes)))
def holds():
    signal.pause()
pid = child(holds)
until(lambda: nattch() == 4)
os.kill(pid, signal.SIGKILL)
tell(joined(pid), nattch())
tell(call("shmctl", segment, IPC_RMID, None), call("shmget", 42, 1, 0), call("shmat", segment, None, 0) not in ("EIDRM", "EINVAL"), nattch())
tell(call("shmdt", address), call("shmdt", again), call("shmdt", again))
tell(call("shmctl", 0, IPC_INFO, buffer), struct.unpack_from("5L", buffer))
