# The calls of POSIX message queues, on top of calls.
import ctypes, os, select, time
from calls import *

O_NONBLOCK, O_CREAT, O_EXCL, O_RDWR, O_RDONLY, O_WRONLY = os.O_NONBLOCK, os.O_CREAT, os.O_EXCL, os.O_RDWR, os.O_RDONLY, os.O_WRONLY

class Attr(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_long), ("maxmsg", ctypes.c_long), ("msgsize", ctypes.c_long), ("curmsgs", ctypes.c_long), ("reserved", ctypes.c_long * 4)]

def mq_open(name, flags, maxmsg=4, msgsize=64):
    return call("mq_open", name, flags, 0o600, ctypes.byref(Attr(0, maxmsg, msgsize)))

buffer = ctypes.create_string_buffer(8192)
def send(mqd, text, priority=0):
    return call("mq_send", mqd, text, len(text), priority)

def receive(mqd, size=64):
    priority = ctypes.c_uint(0)
    n = call("mq_receive", mqd, buffer, size, ctypes.byref(priority))
    return (buffer.raw[:n], priority.value) if isinstance(n, int) else n

def deadline(seconds):
    at = time.time() + seconds
    return ctypes.byref(Timespec(int(at), int(at % 1 * 1e9)))

def attr(mqd):
    a = Attr()
    result = call("mq_getattr", mqd, ctypes.byref(a))
    return (a.flags, a.maxmsg, a.msgsize, a.curmsgs) if result == 0 else result

def ready(mqd):
    p = select.poll()
    p.register(mqd, select.POLLIN | select.POLLOUT)
    seen = p.poll(0)
    return seen[0][1] if seen else 0
