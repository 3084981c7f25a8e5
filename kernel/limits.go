//go:build linux

package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/ipc"
)

// A limitFile is the file that holds a limit, and the place in it.
type limitFile struct {
	path  string
	field int
}

const semPath = "/proc/sys/kernel/sem"

var limitFiles = map[string]limitFile{
	"msgmax":          {"/proc/sys/kernel/msgmax", 0},
	"msgmnb":          {"/proc/sys/kernel/msgmnb", 0},
	"msgmni":          {"/proc/sys/kernel/msgmni", 0},
	"semmsl":          {semPath, 0},
	"semmns":          {semPath, 1},
	"semopm":          {semPath, 2},
	"semmni":          {semPath, 3},
	"shmmax":          {"/proc/sys/kernel/shmmax", 0},
	"shmall":          {"/proc/sys/kernel/shmall", 0},
	"shmmni":          {"/proc/sys/kernel/shmmni", 0},
	"shm_rmid_forced": {"/proc/sys/kernel/shm_rmid_forced", 0},
	"queues_max":      {"/proc/sys/fs/mqueue/queues_max", 0},
	"msg_max":         {"/proc/sys/fs/mqueue/msg_max", 0},
	"msgsize_max":     {"/proc/sys/fs/mqueue/msgsize_max", 0},
	"msg_default":     {"/proc/sys/fs/mqueue/msg_default", 0},
	"msgsize_default": {"/proc/sys/fs/mqueue/msgsize_default", 0},
}

// Limits reads the limits from /proc/sys. A limit whose file this kernel does
// not have is 0.
func (System) Limits() (ipc.Limits, error) {
	var limits ipc.Limits
	for _, limit := range ipc.AllLimits {
		file := limitFiles[limit.Name]
		text, err := os.ReadFile(file.path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return limits, err
		}
		fields := strings.Fields(string(text))
		if len(fields) <= file.field {
			return limits, fmt.Errorf("%s holds %q", file.path, text)
		}
		if *limit.Of(&limits), err = strconv.ParseUint(fields[file.field], 10, 64); err != nil {
			return limits, fmt.Errorf("%s: %w", file.path, err)
		}
	}
	return limits, nil
}

// LimitFile returns the file that holds a limit and what to write there for
// the value in limits. Limits that share the file are written together.
func LimitFile(limit ipc.Limit, limits *ipc.Limits) (path, content string) {
	file := limitFiles[limit.Name]
	var values []string
	for _, other := range ipc.AllLimits {
		if limitFiles[other.Name].path == file.path {
			values = append(values, strconv.FormatUint(*other.Of(limits), 10))
		}
	}
	return file.path, strings.Join(values, " ")
}
