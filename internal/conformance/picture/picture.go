// Package picture writes down what can be seen of a namespace, so that two of
// them can be compared as text: all but times, of which it says whether they
// are set. A process id comes as pid:ID, for the reader to say which process
// that is.
package picture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// Take returns a line for each object, as one sees them who may see everything,
// and lines for all of them.
func Take(s ipc.System) (lines []string, err error) {
	for _, part := range []func(ipc.System) ([]string, error){queues, sets, segments, mqueues} {
		of, err := part(s)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	return lines, nil
}

// pid returns a process id for the reader to translate.
func pid[N int | int32](id N) string { return fmt.Sprintf("pid:%d", id) }

// set says whether times are set.
func set(times ...int64) string {
	var text strings.Builder
	for _, t := range times {
		text.WriteByte("-+"[min(1, t)])
	}
	return text.String()
}

func perm(p ipc.Perm) string {
	return fmt.Sprintf("key %d of %d:%d by %d:%d mode %#o seq %d", p.Key, p.UID, p.GID, p.CUID, p.CGID, p.Mode, p.Seq)
}

// OfQueue is the state of a message queue.
func OfQueue(id int, ds ipc.MsqidDS) string {
	return fmt.Sprintf("queue %d %s: %d bytes in %d messages of %d, sent by %s, received by %s, times %s",
		id, perm(ds.Perm), ds.Cbytes, ds.Qnum, ds.Qbytes, pid(ds.Lspid), pid(ds.Lrpid), set(ds.Stime, ds.Rtime, ds.Ctime))
}

// OfSet is the state of a semaphore set.
func OfSet(id int, ds ipc.SemidDS) string {
	return fmt.Sprintf("set %d %s: %d semaphores, times %s", id, perm(ds.Perm), ds.Nsems, set(ds.Otime, ds.Ctime))
}

// OfSegment is the state of a segment.
func OfSegment(id int, ds ipc.ShmidDS) string {
	return fmt.Sprintf("segment %d %s: %d bytes, %d attached, made by %s, used by %s, times %s",
		id, perm(ds.Perm), ds.Segsz, ds.Nattch, pid(ds.Cpid), pid(ds.Lpid), set(ds.Atime, ds.Dtime, ds.Ctime))
}

// each calls f for the indexes up to the highest, but for a gap in which ids
// that were chosen leave nothing.
func each(highest int, f func(index int) error) error {
	const gapBegins, gapEnds = 1000, 32000
	for index := 0; index <= highest; index++ {
		if index == gapBegins {
			index = max(index, min(highest, gapEnds))
		}
		if err := f(index); err != nil && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

func queues(s ipc.System) (lines []string, err error) {
	limits, highest, err := s.MsgctlInfo()
	if err != nil {
		return nil, err
	}
	info, alsoHighest, err := s.MsgInfo()
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("queues %+v %+v up to %d, %d", limits, info, highest, alsoHighest))
	return lines, each(highest, func(index int) error {
		id, ds, err := s.MsgStatAny(index)
		if err != nil {
			return err
		}
		lines = append(lines, OfQueue(id, ds))
		for position := range ds.Qnum {
			lines = append(lines, message(s, id, int64(position)))
		}
		return nil
	})
}

// longest is longer than the messages that are looked at.
const longest = 1024

func message(s ipc.System, id int, position int64) string {
	text := make([]byte, longest)
	typ, n, err := s.Msgrcv(context.Background(), id, position, text, ipc.MsgCopy|ipc.NoWait)
	if err != nil {
		return fmt.Sprintf("  message %d: %v", position, errors.Unwrap(err))
	}
	return fmt.Sprintf("  message %d: type %d %q", position, typ, text[:n])
}

func sets(s ipc.System) (lines []string, err error) {
	limits, highest, err := s.SemctlInfo()
	if err != nil {
		return nil, err
	}
	info, alsoHighest, err := s.SemInfo()
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("sets %+v %+v up to %d, %d", limits, info, highest, alsoHighest))
	return lines, each(highest, func(index int) error {
		id, ds, err := s.SemStatAny(index)
		if err != nil {
			return err
		}
		lines = append(lines, OfSet(id, ds))
		for num := range int(ds.Nsems) {
			line, err := semaphore(s, id, num)
			if err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return nil
	})
}

func semaphore(s ipc.System, id, num int) (string, error) {
	value, err := s.SemctlGetval(id, num)
	last, pidErr := s.SemctlGetpid(id, num)
	grow, growErr := s.SemctlGetncnt(id, num)
	zero, zeroErr := s.SemctlGetzcnt(id, num)
	return fmt.Sprintf("  semaphore %d: %d by %s, %d wait for more and %d for 0", num, value, pid(last), grow, zero),
		errors.Join(err, pidErr, growErr, zeroErr)
}

func segments(s ipc.System) (lines []string, err error) {
	limits, highest, err := s.ShmctlInfo()
	if err != nil {
		return nil, err
	}
	info, alsoHighest, err := s.ShmInfo()
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("segments %+v %d of %d pages up to %d, %d", limits, info.Segments, info.Pages, highest, alsoHighest))
	return lines, each(highest, func(index int) error {
		id, ds, err := s.ShmStatAny(index)
		if err != nil {
			return err
		}
		lines = append(lines, OfSegment(id, ds))
		return nil
	})
}

func mqueues(s ipc.System) (lines []string, err error) {
	list, err := s.MqList()
	if errors.Is(err, os.ErrPermission) {
		return nil, nil
	}
	for _, q := range list {
		lines = append(lines, fmt.Sprintf("mqueue %s of %d:%d mode %#o: %+v, %d bytes, notifies %s",
			q.Name, q.UID, q.GID, q.Mode, q.Attr, q.Bytes, pid(q.NotifyPID)))
	}
	return lines, err
}
