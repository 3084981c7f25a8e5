# Notification of POSIX message queues, by signal and by thread.
import ctypes, os, signal, threading
from mq import *

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD = 0, 1, 2
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

class Sigevent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("function", CALLBACK), ("attributes", ctypes.c_void_p), ("pad", ctypes.c_long * 4)]

def notify(mqd, event):
    return call("mq_notify", mqd, ctypes.byref(event) if event else None)

def by_signal(mqd, signo=signal.SIGUSR1, value=0):
    return notify(mqd, Sigevent(value, signo, SIGEV_SIGNAL))

mqd = mq_open(b"/news", os.O_CREAT | os.O_RDWR)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])

def pending(timeout=0.1):
    info = signal.sigtimedwait([signal.SIGUSR1, signal.SIGUSR2], timeout)
    return info and (info.si_signo, info.si_code, info.si_uid == os.getuid())

tell("-- by signal")
tell(by_signal(mqd), by_signal(mqd), pending(0))
tell(send(mqd, b"first"), pending(20), send(mqd, b"second"), pending())
tell(by_signal(mqd), send(mqd, b"not empty before"), pending(), notify(mqd, None), notify(mqd, None))
while attr(mqd)[3]:
    receive(mqd)
tell(by_signal(mqd, 0), by_signal(mqd, 200), notify(mqd, Sigevent(0, 0, 99)), by_signal(0), by_signal(-1))
pid = child(lambda: tell("another process", by_signal(mqd), notify(mqd, None)))
tell(joined(pid), by_signal(mqd))
pid = child(lambda: tell("taken", by_signal(mqd), "removed", notify(mqd, None)))
tell(joined(pid), notify(mqd, None))
def registers():
    tell("by one that ends", by_signal(mqd))
tell(joined(child(registers)), by_signal(mqd), notify(mqd, None))

tell("-- the sender is told")
tell(by_signal(mqd, signal.SIGUSR2))
pid = child(lambda: send(mqd, b"from a child"))
info = signal.sigtimedwait([signal.SIGUSR2], 20)
tell(joined(pid), info.si_signo, info.si_code, info.si_pid == pid, receive(mqd))

tell("-- who waits comes first")
tell(by_signal(mqd))
pid = child(lambda: tell("receiver", receive(mqd)))
asleep(pid)
tell(send(mqd, b"x"), joined(pid), pending(), send(mqd, b"y"), pending(20), receive(mqd))

tell("-- without a signal")
tell(notify(mqd, Sigevent(0, 0, SIGEV_NONE)), by_signal(mqd), send(mqd, b"silent"), pending(), by_signal(mqd), notify(mqd, None), receive(mqd))

tell("-- by thread")
called, happened = [], threading.Event()
@CALLBACK
def callback(value):
    called.append((value, threading.current_thread() is not threading.main_thread(), receive(mqd)))
    happened.set()
def by_thread(value):
    return notify(mqd, Sigevent(value, 0, SIGEV_THREAD, callback))
for value in 1, 2, 3:
    happened.clear()
    tell(by_thread(value), by_thread(value), by_signal(mqd), send(mqd, b"to thread %d" % value, value), happened.wait(20), called[-1:])
tell(by_thread(4), notify(mqd, None), send(mqd, b"unheard"), happened.clear(), happened.wait(0.1), receive(mqd), len(called))
pid = child(lambda: tell("after fork", by_signal(mqd), notify(mqd, None)))
tell(joined(pid))

tell("-- closing ends it")
other = mq_open(b"/news", os.O_RDWR)
tell(by_signal(other), by_signal(mqd), call("mq_close", other), by_signal(mqd), notify(mqd, None), call("mq_unlink", b"/news"))
