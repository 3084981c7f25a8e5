//go:build linux

package differential

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/conformance/picture"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A call is one that a step can make. It returns all that is compared.
type call struct {
	of   string // a mechanism, "" for any
	args []arg
	more []arg // that come any number of times after them
	// weight is how often the call is drawn, compared with others.
	weight int
	sleeps bool // it may
	do     func(m *making) string
}

type arg struct {
	name  string
	draw  *rapid.Generator[int]
	octal bool
}

// A making is a call that is being made.
type making struct {
	*process
	ctx    context.Context
	number int // of the step
	args   []int
}

// result writes down the results of a call.
func result(err error, returned ...any) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	case err != nil:
		return err.Error()
	}
	return "ok " + strings.TrimSpace(fmt.Sprintln(returned...))
}

// oneOf draws each of the values as often. What rapid samples from is mostly
// the first and the last.
func oneOf[T any](values ...T) *rapid.Generator[T] {
	return rapid.Custom(func(t *rapid.T) T {
		const bits = 10
		n := 0
		for range bits {
			n <<= 1
			if rapid.Bool().Draw(t, "bit") {
				n++
			}
		}
		return values[n%len(values)]
	})
}

// often draws the usual but once in about fifteen times.
func often(usual *rapid.Generator[int], rare ...int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		if isRare.Draw(t, "rare") == 1 {
			return oneOf(rare...).Draw(t, "rare one")
		}
		return usual.Draw(t, "usual one")
	})
}

var isRare = oneOf(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)

// Objects are meant by how many get calls there were since they were got, as
// often as there are objects; whoever made the call. Numbers from odd on are ids
// that no object has, or that few have.
const odd = 100

var oddIDs = []int{-1, 0, 17, 1 << 15, math.MaxInt32, math.MinInt32, 1 << 32}

var (
	object = arg{name: "object", draw: often(oneOf(0, 0, 0, 1, 2), odd, odd+1, odd+2, odd+3, odd+4, odd+5, odd+6)}
	which  = arg{name: "descriptor", draw: oneOf(0, 0, 1, 2, 3)}
	place  = arg{name: "attachment", draw: oneOf(0, 1, 2)}
	key    = arg{name: "key", draw: often(oneOf(1, 1, 2, 3), 0, -1)}
	flags  = arg{"flags", often(oneOf(0o1666, 0o1666, 0o1666, 0o1600, 0o1660, 0o1622, 0o1644), 0, 0o600, 0o444, 0o3666, 0o1000, 0o2644, 0o1400, 0o1200, 0o1066, 0o4666, 0o11666, 0o1777), true}
	mode   = arg{"mode", often(oneOf(0o600, 0o666, 0o666, 0o066), 0, 0o400, 0o200, 0o644, 0o060, 0o066, 0o777, 0o7666), true}
	ended  = arg{name: "the context has ended", draw: often(oneOf(0), 1)}
	uid    = arg{name: "uid", draw: often(oneOf(0, firstUID, firstUID+1), 5, -1)}
	gid    = arg{name: "gid", draw: often(oneOf(0, firstUID, firstUID+1), 5, -1)}
	size   = arg{name: "bytes", draw: often(oneOf(0, 1, 3, 5, 8, 8), 40, 100, 128, 129, 9000)}
	typ    = arg{name: "type", draw: often(oneOf(1, 1, 2, 3), 0, -1, math.MaxInt64)}
	wanted = arg{name: "type", draw: often(oneOf(0, 0, 1, 2, 3, -1, -2, -3), 5, -9, math.MinInt64, math.MaxInt64)}
	num    = arg{name: "semaphore", draw: often(oneOf(0, 1, 0, 2), 3, -1, 1<<16, 1<<32)}
	value  = arg{name: "value", draw: often(oneOf(0, 1, 2, 3), 32767, 32766, 32768, -1, 65535)}
)

const nowait = ipc.NoWait

// Timeouts of semop: none, and one that no other step waits for.
const noTimeout, semTimeout = -1, int(time.Millisecond)

var calls map[string]call

// A family is the calls of one mechanism, or of all of them.
type family struct {
	makers     []string // of objects
	everything []string // each as often as its weight
}

// families are those of each mechanism. What is of none is in all.
var families = map[string]*family{"msg": {}, "sem": {}, "shm": {}, "mq": {}, "all": {}}

func init() {
	calls = map[string]call{
		"msgget":     {of: "msg", args: []arg{key, flags}, weight: 6, do: msgget},
		"msgsnd":     {of: "msg", args: []arg{object, typ, size, {"flags", often(oneOf(0), nowait, 0o10000), true}, ended}, weight: 12, sleeps: true, do: msgsnd},
		"msgrcv":     {of: "msg", args: []arg{object, wanted, size, {"flags", often(oneOf(0, 0, 0o10000), nowait, 0o20000, 0o24000, 0o14000, 0o44000, 0o40000, 0o54000, 0o64000), true}, ended}, weight: 14, sleeps: true, do: msgrcv},
		"msgset":     {of: "msg", args: []arg{object, uid, gid, mode, {name: "qbytes", draw: often(oneOf(0, 1, 5, 8, 10, 20, 100), 16384, 16385, -1)}}, weight: 4, do: msgset},
		"msgrm":      {of: "msg", args: []arg{object}, weight: 2, do: func(m *making) string { return result(m.MsgctlRmid(m.id("msg", 0))) }},
		"msgstat":    {of: "msg", args: []arg{object}, weight: 1, do: msgstat},
		"msgstatidx": {of: "msg", args: []arg{object}, weight: 1, do: msgstatidx},

		"semget":     {of: "sem", args: []arg{key, {name: "semaphores", draw: often(oneOf(2, 2, 2, 3, 1), 0, -1, 5, 32001, 1<<32)}, flags}, weight: 6, do: semget},
		"semop":      {of: "sem", args: []arg{object, {name: "timeout", draw: often(oneOf(noTimeout), 0, semTimeout, -5)}, ended}, more: sops, weight: 30, sleeps: true, do: semop},
		"setval":     {of: "sem", args: []arg{object, num, value}, weight: 5, do: func(m *making) string { return result(m.SemctlSetval(m.id("sem", 0), m.args[1], m.args[2])) }},
		"setall":     {of: "sem", args: []arg{object, value}, more: []arg{value}, weight: 5, do: setall},
		"semget1":    {of: "sem", args: []arg{object, num}, weight: 2, do: semget1},
		"getall":     {of: "sem", args: []arg{object}, weight: 1, do: func(m *making) string { values, err := m.SemctlGetall(m.id("sem", 0)); return result(err, values) }},
		"semset":     {of: "sem", args: []arg{object, uid, gid, mode}, weight: 2, do: func(m *making) string { return result(m.SemctlSet(m.id("sem", 0), m.permSet(1))) }},
		"semrm":      {of: "sem", args: []arg{object}, weight: 2, do: func(m *making) string { return result(m.SemctlRmid(m.id("sem", 0))) }},
		"semstat":    {of: "sem", args: []arg{object}, weight: 1, do: semstat},
		"semstatidx": {of: "sem", args: []arg{object}, weight: 1, do: semstatidx},

		"shmget":     {of: "shm", args: []arg{key, {name: "bytes", draw: oneOf(1, 4096, 4097, 10000, 0, 20000)}, flagsWithoutHugePages}, weight: 4, do: shmget},
		"shmat":      {of: "shm", args: []arg{object, {"flags", often(oneOf(0, 0o10000), 0o20000, 0o40000, 0o100000, 0o110000, 0o200000, 0o30000), true}}, weight: 5, do: shmat},
		"shmdt":      {of: "shm", args: []arg{place}, weight: 4, do: shmdt},
		"poke":       {of: "shm", args: []arg{place, {name: "at", draw: oneOf(0, 100, 4095)}}, weight: 1, do: poke},
		"peek":       {of: "shm", args: []arg{place, {name: "at", draw: oneOf(0, 100, 4095)}}, weight: 1, do: peek},
		"shmset":     {of: "shm", args: []arg{object, uid, gid, mode}, weight: 2, do: func(m *making) string { return result(m.ShmctlSet(m.id("shm", 0), m.permSet(1))) }},
		"shmrm":      {of: "shm", args: []arg{object}, weight: 2, do: func(m *making) string { return result(m.ShmctlRmid(m.id("shm", 0))) }},
		"shmlock":    {of: "shm", args: []arg{object}, weight: 1, do: func(m *making) string { return result(m.ShmctlLock(m.id("shm", 0))) }},
		"shmunlock":  {of: "shm", args: []arg{object}, weight: 1, do: func(m *making) string { return result(m.ShmctlUnlock(m.id("shm", 0))) }},
		"shmstat":    {of: "shm", args: []arg{object}, weight: 1, do: shmstat},
		"shmstatidx": {of: "shm", args: []arg{object}, weight: 1, do: shmstatidx},

		"mqopen": {of: "mq", args: []arg{{name: "name", draw: often(oneOf(0, 1), 2, 3, 4, 5, 6, 7)},
			{"flags", often(oneOf(0o102, 0o100, 0o101), 0, 1, 2, 3, 0o103, 0o302, 0o4002, 0o4102, 0o1102), true}, mode,
			{name: "maxmsg", draw: often(oneOf(1, 2, defaultMaxmsg), 0, -1, 10, 11, 1<<40)}, {name: "msgsize", draw: often(oneOf(8, 129), 0, -1, 1, 300)}}, weight: 10, do: mqopen},
		"mqsend":    {of: "mq", args: []arg{which, size, {name: "priority", draw: often(oneOf(0, 1, 2), 32767, 32768, 1<<32)}}, weight: 12, sleeps: true, do: mqsend},
		"mqreceive": {of: "mq", args: []arg{which, {name: "bytes", draw: often(oneOf(129), 8, 7, 300, 0)}}, weight: 12, sleeps: true, do: mqreceive},
		"mqnotify":  {of: "mq", args: []arg{which}, weight: 4, do: mqnotify},
		"mqcancel":  {of: "mq", args: []arg{which}, weight: 1, do: mqcancel},
		"mqattr":    {of: "mq", args: []arg{which}, weight: 1, do: mqattr},
		"mqblock":   {of: "mq", args: []arg{which, {name: "O_NONBLOCK", draw: oneOf(0, 1)}}, weight: 1, do: mqblock},
		"mqclose":   {of: "mq", args: []arg{which}, weight: 3, do: mqclose},
		"mqunlink":  {of: "mq", args: []arg{{name: "name", draw: often(oneOf(0, 1), 2, 3, 4, 5, 6, 7)}}, weight: 2, do: func(m *making) string { return result(m.MqUnlink(names[m.args[0]])) }},

		"limit":  {args: []arg{{name: "limit", draw: oneOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)}, {name: "value", draw: oneOf(0, 1, 2, 3, 4)}}, weight: 3, do: setLimit},
		"nextid": {args: []arg{{name: "kind", draw: oneOf(0, 1, 2)}, {name: "id", draw: oneOf(0, 2, 5, 63, 3<<15|1, 40000, math.MaxInt32, -1, 1<<31)}}, weight: 2, do: nextID},
		// What these do is not a call of a process.
		"cancel": {args: []arg{{name: "sleeper", draw: oneOf(0, 1, 2, 3)}}, weight: 3},
		"kill":   {weight: 2},
		"fork":   {weight: 1},
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		for of, f := range families {
			if of != "all" && calls[name].of != of && calls[name].of != "" {
				continue
			}
			f.everything = append(f.everything, slices.Repeat([]string{name}, calls[name].weight)...)
		}
	}
	for of, f := range families {
		f.makers = map[string][]string{
			"msg": {"msgget"}, "sem": {"semget"}, "shm": {"shmget", "shmat"}, "mq": {"mqopen"},
			"all": {"msgget", "semget", "semget", "shmget", "mqopen"},
		}[of]
	}
}

var sops = []arg{
	{name: "semaphore", draw: often(oneOf(0, 0, 1), 2, 3)},
	{name: "operation", draw: often(oneOf(-1, -1, -2, 0, 1, 1, 2), 3, 32767, -32767, -32768, 16384)},
	{"flags", often(oneOf(0, 0, 0o10000), nowait, nowait|0o10000), true},
}

// flagsWithoutHugePages have no SHM_HUGETLB, which needs some.
var flagsWithoutHugePages = arg{flags.name, flags.draw.Filter(func(f int) bool { return f&ipc.ShmHugetlb == 0 }), true}

// defaultMaxmsg stands for no attributes. It is what they are by default.
const defaultMaxmsg = 3

var names = []string{"/a", "/b", "/c", "/", "a", "/a/b", "/..", ""}

// limits are names, and values for them. Those of POSIX queues stay small, as
// all queues of a user on the machine count together.
var limits = []struct {
	name   string
	values [5]int64
}{
	{"msgmax", [5]int64{8192, 5, 100, 0, -1}},
	{"msgmnb", [5]int64{16384, 10, 0, 5, 1 << 31}},
	{"msgmni", [5]int64{32000, 1, 2, 0, 32769}},
	{"semmsl", [5]int64{32000, 2, 1, -1, 1 << 31}},
	{"semmns", [5]int64{1024000000, 4, 0, -1, math.MinInt32}},
	{"semopm", [5]int64{500, 2, 1, -1, 0}},
	{"semmni", [5]int64{32000, 1, 2, 32769, 1 << 31}},
	{"shmmax", [5]int64{math.MaxInt64, 4096, 1, 0, 10000}},
	{"shmall", [5]int64{math.MaxInt64, 2, 4, 0, 1}},
	{"shmmni", [5]int64{4096, 1, 2, 0, 32769}},
	{"shm_rmid_forced", [5]int64{0, 1, 1, 2, -1}},
	{"queues_max", [5]int64{256, 1, 2, 0, -1}},
	{"msg_max", [5]int64{10, 2, 1, 0, 65537}},
	{"msgsize_max", [5]int64{8192, 128, 200, 127, 16777217}},
	{"msg_default", [5]int64{3, 2, 1, 0, 65537}},
	{"msgsize_default", [5]int64{128, 129, 200, 127, 16777217}},
	{"auto_msgmni", [5]int64{0, 1, 2, -1, 0}},
}

func setLimit(m *making) string {
	l := limits[m.args[0]]
	return result(m.side.world.SetLimit(l.name, l.values[m.args[1]]))
}

func nextID(m *making) string {
	return result(m.side.world.SetNextID([]string{"msg", "sem", "shm"}[m.args[0]], m.args[1]))
}

// id returns the id of the object that an argument means.
func (m *making) id(kind string, argument int) int {
	n, ids := m.args[argument], m.side.ids[kind]
	switch {
	case n >= odd:
		return oddIDs[n-odd]
	case len(ids) == 0:
		return -1
	}
	return ids[n%len(ids)]
}

// got makes the id that a get call has returned the first.
func (m *making) got(kind string, id int, err error) string {
	if err == nil {
		ids := slices.DeleteFunc(m.side.ids[kind], func(other int) bool { return other == id })
		m.side.ids[kind] = slices.Insert(ids, 0, id)
	}
	return result(err, id)
}

// text is what no other step sends.
func (m *making) text(size int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%d.", m.number), size)[:size])
}

func (m *making) permSet(first int) ipc.PermSet {
	return ipc.PermSet{UID: uint32(m.args[first]), GID: uint32(m.args[first+1]), Mode: uint32(m.args[first+2])}
}

func msgget(m *making) string {
	id, err := m.Msgget(ipc.Key(m.args[0]), m.args[1])
	return m.got("msg", id, err)
}

func msgsnd(m *making) string {
	return result(m.thread().Msgsnd(m.ctx, m.id("msg", 0), int64(m.args[1]), m.text(m.args[2]), m.args[3]))
}

func msgrcv(m *making) string {
	text := make([]byte, m.args[2])
	typ, n, err := m.thread().Msgrcv(m.ctx, m.id("msg", 0), int64(m.args[1]), text, m.args[3])
	return result(err, typ, string(text[:n]))
}

func msgset(m *making) string {
	return result(m.MsgctlSet(m.id("msg", 0), ipc.MsqidSet{PermSet: m.permSet(1), Qbytes: uint64(m.args[4])}))
}

func msgstat(m *making) string {
	ds, err := m.MsgctlStat(m.id("msg", 0))
	return result(err, picture.OfQueue(0, ds))
}

func msgstatidx(m *making) string {
	id, ds, err := m.MsgStat(m.id("msg", 0))
	return result(err, picture.OfQueue(id, ds))
}

func semget(m *making) string {
	id, err := m.Semget(ipc.Key(m.args[0]), m.args[1], m.args[2])
	return m.got("sem", id, err)
}

func semop(m *making) string {
	var ops []ipc.Sembuf
	for args := m.args[3:]; len(args) >= 3; args = args[3:] {
		ops = append(ops, ipc.Sembuf{Num: uint16(args[0]), Op: int16(args[1]), Flg: int16(args[2])})
	}
	if timeout := m.args[1]; timeout != noTimeout {
		return result(m.thread().Semtimedop(m.ctx, m.id("sem", 0), ops, time.Duration(timeout)))
	}
	return result(m.thread().Semop(m.ctx, m.id("sem", 0), ops))
}

func setall(m *making) string {
	var values []uint16
	for _, value := range m.args[1:] {
		values = append(values, uint16(value))
	}
	return result(m.SemctlSetall(m.id("sem", 0), values))
}

func semget1(m *making) string {
	id, num := m.id("sem", 0), m.args[1]
	value, valueErr := m.SemctlGetval(id, num)
	pid, pidErr := m.SemctlGetpid(id, num)
	grow, growErr := m.SemctlGetncnt(id, num)
	zero, zeroErr := m.SemctlGetzcnt(id, num)
	return fmt.Sprint(result(valueErr, value), result(pidErr, fmt.Sprint("pid:", pid)), result(growErr, grow), result(zeroErr, zero))
}

func semstat(m *making) string {
	ds, err := m.SemctlStat(m.id("sem", 0))
	return result(err, picture.OfSet(0, ds))
}

func semstatidx(m *making) string {
	id, ds, err := m.SemStat(m.id("sem", 0))
	return result(err, picture.OfSet(id, ds))
}

func shmget(m *making) string {
	id, err := m.Shmget(ipc.Key(m.args[0]), uint64(m.args[1]), m.args[2])
	return m.got("shm", id, err)
}

func shmat(m *making) string {
	memory, err := m.Shmat(m.id("shm", 0), 0, m.args[1])
	if err == nil {
		m.attached = append(m.attached, memory)
	}
	return result(err, len(memory))
}

// attachment returns the memory that the first argument means, and the process
// that has it attached, which makes the call; or nil.
func (m *making) attachment() (*process, []byte) {
	n := 0
	for _, p := range m.side.alive {
		n += len(p.attached)
	}
	if n == 0 {
		return nil, nil
	}
	n = m.args[0] % n
	for _, p := range m.side.alive {
		if n < len(p.attached) {
			return p, p.attached[n]
		}
		n -= len(p.attached)
	}
	return nil, nil
}

func shmdt(m *making) string {
	p, memory := m.attachment()
	if p == nil {
		return ""
	}
	p.attached = slices.DeleteFunc(p.attached, func(other []byte) bool { return &other[0] == &memory[0] })
	return result(p.Shmdt(memory))
}

func poke(m *making) string {
	p, memory := m.attachment()
	if p == nil {
		return ""
	}
	return result(p.Poke(memory, m.args[1], []byte{byte(m.number)}))
}

func peek(m *making) string {
	p, memory := m.attachment()
	if p == nil {
		return ""
	}
	data, err := p.Peek(memory, m.args[1], 1)
	return result(err, data)
}

func shmstat(m *making) string {
	ds, err := m.ShmctlStat(m.id("shm", 0))
	return result(err, picture.OfSegment(0, ds))
}

func shmstatidx(m *making) string {
	id, ds, err := m.ShmStat(m.id("shm", 0))
	return result(err, picture.OfSegment(id, ds))
}

func mqopen(m *making) string {
	var attr *ipc.MqAttr
	if m.args[3] != defaultMaxmsg {
		attr = &ipc.MqAttr{Maxmsg: int64(m.args[3]), Msgsize: int64(m.args[4])}
	}
	q, err := m.openMqueue(names[m.args[0]], m.args[1], uint32(m.args[2]), attr)
	if err == nil {
		m.side.mqds = slices.Insert(m.side.mqds, 0, &mqd{Mqd: q, of: m.process})
	}
	return result(err)
}

// An mqd is a descriptor of a process.
type mqd struct {
	ipc.Mqd
	of     *process
	cancel func() error // ends the registration that the process has made last, if with this one
}

// mqd calls f with the descriptor that the first argument means, if there is
// one. The process that has it makes the call.
func (m *making) mqd(f func(*mqd) string) string {
	d := m.side.descriptor(m.args)
	if d == nil {
		return ""
	}
	return f(d)
}

func mqsend(m *making) string {
	return m.mqd(func(d *mqd) string {
		return result(d.Timedsend(m.ctx, m.text(m.args[1]), uint(m.args[2])))
	})
}

func mqreceive(m *making) string {
	return m.mqd(func(d *mqd) string {
		buffer := make([]byte, m.args[1])
		n, priority, err := d.Timedreceive(m.ctx, buffer)
		return result(err, priority, string(buffer[:n]))
	})
}

func mqnotify(m *making) string {
	return m.mqd(func(d *mqd) string {
		cancel, err := d.Notify(func() {})
		if err == nil {
			for _, other := range m.side.mqds {
				if other.of == d.of {
					other.cancel = nil // the kernel ends whichever the process has
				}
			}
			d.cancel = cancel
		}
		return result(err)
	})
}

func mqcancel(m *making) string {
	return m.mqd(func(d *mqd) string {
		if d.cancel == nil {
			return ""
		}
		return result(d.cancel())
	})
}

func mqattr(m *making) string {
	return m.mqd(func(d *mqd) string {
		attr, err := d.Getattr()
		return result(err, attr)
	})
}

func mqblock(m *making) string {
	return m.mqd(func(d *mqd) string {
		before, err := d.SetNonblock(m.args[1] != 0)
		return result(err, before)
	})
}

func mqclose(m *making) string {
	return m.mqd(func(d *mqd) string {
		m.side.mqds = slices.DeleteFunc(m.side.mqds, func(other *mqd) bool { return other == d })
		return result(d.Close())
	})
}
