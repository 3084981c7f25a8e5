//go:build linux

package procfile

import (
	"math"
	"strconv"

	"github.com/ipcns/ipcns/ipc"
)

// limits returns what makes the content of a file with the limits of those
// names.
func limits(names ...string) func(ipc.System, NextIDs) ([]byte, error) {
	return func(system ipc.System, _ NextIDs) ([]byte, error) {
		values, err := system.Limits()
		if err != nil {
			return nil, err
		}
		var line []byte
		for _, name := range names {
			limit, err := ipc.LimitByName(name)
			if err != nil {
				return nil, err
			}
			line = append(appendValue(line, limit, *limit.Of(&values)), '\t')
		}
		line[len(line)-1] = '\n'
		return line, nil
	}
}

// appendValue appends a number: shmmax and shmall are an unsigned long in the
// kernel, the others an int, which may be negative.
func appendValue(line []byte, limit ipc.Limit, value uint64) []byte {
	if limit.Max == math.MaxUint64 {
		return strconv.AppendUint(line, value, 10)
	}
	return strconv.AppendInt(line, int64(int32(value)), 10)
}

// autoMsgmni makes the content of a file that means nothing since Linux 3.19,
// and reads as 0 whatever is written to it.
func autoMsgmni(ipc.System, NextIDs) ([]byte, error) { return []byte("0\n"), nil }

func nextID(kind string) func(ipc.System, NextIDs) ([]byte, error) {
	return func(_ ipc.System, next NextIDs) ([]byte, error) {
		id, err := next(kind)
		if err != nil {
			return nil, err
		}
		return append(strconv.AppendInt(nil, int64(id), 10), '\n'), nil
	}
}
