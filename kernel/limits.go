//go:build linux

package kernel

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/ipc"
)

// limitFiles are the files that hold the limits, each with its limits in the
// order in which they stand there.
var limitFiles = [...]struct {
	path  string
	names []string
}{
	{"/proc/sys/kernel/msgmax", []string{"msgmax"}},
	{"/proc/sys/kernel/msgmnb", []string{"msgmnb"}},
	{"/proc/sys/kernel/msgmni", []string{"msgmni"}},
	{"/proc/sys/kernel/sem", []string{"semmsl", "semmns", "semopm", "semmni"}},
	{"/proc/sys/kernel/shmmax", []string{"shmmax"}},
	{"/proc/sys/kernel/shmall", []string{"shmall"}},
	{"/proc/sys/kernel/shmmni", []string{"shmmni"}},
	{"/proc/sys/kernel/shm_rmid_forced", []string{"shm_rmid_forced"}},
	{"/proc/sys/fs/mqueue/queues_max", []string{"queues_max"}},
	{"/proc/sys/fs/mqueue/msg_max", []string{"msg_max"}},
	{"/proc/sys/fs/mqueue/msgsize_max", []string{"msgsize_max"}},
	{"/proc/sys/fs/mqueue/msg_default", []string{"msg_default"}},
	{"/proc/sys/fs/mqueue/msgsize_default", []string{"msgsize_default"}},
}

// Limits reads the limits from /proc/sys. A limit whose file this kernel does
// not have is 0; one that somebody has made negative is its two's complement.
func (System) Limits() (ipc.Limits, error) {
	var limits ipc.Limits
	for _, file := range limitFiles {
		text, err := os.ReadFile(file.path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return limits, err
		}
		fields := strings.Fields(string(text))
		if len(fields) < len(file.names) {
			return limits, fmt.Errorf("%s holds %q", file.path, text)
		}
		for i, name := range file.names {
			if err := setLimit(&limits, name, fields[i]); err != nil {
				return limits, fmt.Errorf("%s: %w", file.path, err)
			}
		}
	}
	return limits, nil
}

func setLimit(limits *ipc.Limits, name, text string) error {
	limit, err := ipc.LimitByName(name)
	if err != nil {
		return err
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if strings.HasPrefix(text, "-") {
		var negative int64
		negative, err = strconv.ParseInt(text, 10, 64)
		value = uint64(negative)
	}
	*limit.Of(limits) = value
	return err
}

// SetLimit changes a limit of the namespace. That is up to uid 0 of the user
// namespace that owns it (EACCES, EPERM; SEMANTICS A.2.13). EINVAL or ERANGE:
// the value is out of range.
func (s System) SetLimit(setting ipc.LimitSetting) error {
	limits, err := s.Limits()
	if err != nil {
		return err
	}
	*setting.Of(&limits) = setting.Value
	path, content, err := LimitFile(setting.Name, &limits)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0)
}

// LimitFile returns the file that holds the limit of that name and what to
// write there for the values in limits. Limits that share the file are
// written together.
func LimitFile(name string, limits *ipc.Limits) (path, content string, err error) {
	for _, file := range limitFiles {
		if !slices.Contains(file.names, name) {
			continue
		}
		values := make([]string, len(file.names))
		for i, other := range file.names {
			limit, err := ipc.LimitByName(other)
			if err != nil {
				return "", "", err
			}
			values[i] = strconv.FormatUint(*limit.Of(limits), 10)
		}
		return file.path, strings.Join(values, " "), nil
	}
	return "", "", fmt.Errorf("no file holds the limit %q", name)
}
