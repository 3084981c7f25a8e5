# POSIX message queues by descriptor: order, time, poll, epoll, fork, sockets.
import array, ctypes, os, select, signal, socket, threading, time
from mq import *

tell("-- opening")
mqd = mq_open(b"/jobs", O_CREAT | O_EXCL | O_RDWR)
tell(isinstance(mqd, int), mq_open(b"/jobs", O_CREAT | O_EXCL | O_RDWR), mq_open(b"/none", O_RDWR), mq_open(b"jobs", O_RDWR), mq_open(b"/", O_RDWR), mq_open(b"/a/b", O_CREAT | O_RDWR), mq_open(b"/" + b"x" * 256, O_CREAT | O_RDWR))
tell(mq_open(b"/zero", O_CREAT | O_RDWR, 0, 1), mq_open(b"/large", O_CREAT | O_RDWR, 1 << 30, 1))
tell(attr(mqd), os.get_inheritable(mqd))
reader, writer = mq_open(b"/jobs", O_RDONLY), mq_open(b"/jobs", O_WRONLY | O_NONBLOCK)
tell(send(reader, b""), receive(writer), attr(writer)[0] == O_NONBLOCK, attr(0))

tell("-- order")
for priority in 3, 1, 32767, 3:
    tell(send(mqd, b"p%d" % priority, priority))
tell(attr(mqd), send(writer, b"full"), send(mqd, b"x" * 65), send(mqd, b"", 32768))
tell(receive(mqd, 63), [receive(mqd) for n in range(4)])

tell("-- time")
begin = time.time()
tell(call("mq_timedreceive", mqd, buffer, 64, None, deadline(0.2)), 0.2 <= time.time() - begin < 2)
tell(call("mq_timedreceive", mqd, buffer, 64, None, deadline(-1)), call("mq_timedreceive", mqd, buffer, 64, None, ctypes.byref(Timespec(0, -1))))
for n in range(4):
    send(mqd, b"%d" % n)
tell(call("mq_timedsend", mqd, b"x", 1, 0, deadline(0.1)), call("mq_timedsend", mqd, b"x", 1, 0, ctypes.byref(Timespec(0, 1 << 30))))

tell("-- readiness")
IN, OUT = select.POLLIN, select.POLLOUT
tell(ready(mqd) == IN, ready(reader) == IN, ready(writer) == IN)
receive(mqd)
tell(ready(mqd) == IN | OUT)
for n in range(3):
    receive(mqd)
tell(ready(mqd) == OUT, select.select([mqd], [mqd], [], 0) == ([], [mqd], []))
def sends():
    time.sleep(0.1)
    send(mqd, b"later")
thread = threading.Thread(target=sends)
thread.start()
tell(select.select([reader], [], [], 20)[0] == [reader], receive(reader))
thread.join()
edges = select.epoll()
edges.register(mqd, select.EPOLLIN | select.EPOLLET)
tell(edges.poll(0) == [], send(mqd, b"1"), edges.poll(0) == [(mqd, IN)], edges.poll(0), send(mqd, b"2"), receive(mqd), receive(mqd))
edges.close()
levels = select.epoll()
levels.register(mqd, select.EPOLLIN)
pid = child(sends)
tell(levels.poll(20) == [(mqd, IN)], levels.poll(0) == [(mqd, IN)], receive(mqd), levels.poll(0), joined(pid))
levels.close()

tell("-- O_NONBLOCK belongs to the description")
copy = os.dup(mqd)
tell(call("mq_setattr", mqd, ctypes.byref(Attr(O_NONBLOCK)), None), receive(copy), attr(copy)[0] == O_NONBLOCK, attr(reader)[0])
os.set_blocking(copy, True)
tell(attr(mqd)[0], call("mq_setattr", mqd, ctypes.byref(Attr(1)), None))
os.close(copy)

tell("-- processes")
pid = child(lambda: tell("child", receive(mqd)))
asleep(pid)
tell(send(mqd, b"to the child", 5), joined(pid))
for n in range(4):
    send(mqd, b"%d" % n)
pid = child(lambda: tell("sender", send(mqd, b"urgent", 9)))
asleep(pid)
tell(receive(mqd)[0], joined(pid), receive(mqd), attr(mqd)[3])
while attr(mqd)[3]:
    receive(mqd)
def waits():
    signal.signal(signal.SIGUSR1, lambda *_: None)
    tell("a signal", receive(mqd))
pid = child(waits)
asleep(pid)
os.kill(pid, signal.SIGUSR1)
tell(joined(pid))
pid = child(lambda: receive(mqd))
asleep(pid)
os.kill(pid, signal.SIGKILL)
tell(joined(pid), send(mqd, b"not taken"), receive(mqd))
pids = []
for n in range(4):
    pids.append(child(lambda: os._exit(10 + receive(mqd)[1])))
    asleep(pids[-1])
tell([send(mqd, b"", n) for n in range(4)], [joined(pid) for pid in pids])

tell("-- a descriptor goes through a socket")
ours, theirs = socket.socketpair()
def passes():
    queue = mq_open(b"/passed", O_CREAT | O_EXCL | O_RDWR)
    send(queue, b"from before", 2)
    call("mq_unlink", b"/passed")
    theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [queue]))])
pid = child(passes)
_, control, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
passed = array.array("i", control[0][2])[0]
tell(joined(pid), receive(passed), send(passed, b"again"), ready(passed) == IN | OUT, receive(passed), mq_open(b"/passed", O_RDWR))
os.close(passed)

tell("-- exec closes, and a new program opens again")
tell(os.spawnlp(os.P_WAIT, "sh", "sh", "-c", f"test ! -e /proc/self/fd/{mqd}"))

tell("-- the end of a name")
tell(call("mq_unlink", b"/jobs"), call("mq_unlink", b"/jobs"), send(mqd, b"still"), receive(reader))
new = mq_open(b"/jobs", O_CREAT | O_RDWR, 2, 8)
tell(attr(new), attr(mqd))
tell(call("mq_close", new), call("mq_close", new), send(new, b""), call("mq_unlink", b"/jobs"))
