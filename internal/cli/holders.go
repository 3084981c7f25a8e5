//go:build linux

package cli

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/host"
)

// holdings are what ls calls holders.
var holdings = []struct {
	kind      host.HolderKind
	one, many string
}{
	{host.HeldByDescriptor, "fd", "fds"},
	{host.HeldByMount, "mount", "mounts"},
	{host.HeldByAttachment, "attachment", "attachments"},
	{host.HeldByTable, "sysvipc", "sysvipc"},
	{host.HeldByContext, "context", "contexts"},
	{host.HeldUnseen, "unseen", "unseen"},
}

// heldBy says what keeps a namespace, besides threads: 2 fds, mount.
func heldBy(holders []host.Holder) string {
	counts := map[host.HolderKind]int{}
	for _, holder := range holders {
		counts[holder.Kind]++
	}
	var words []string
	for _, h := range holdings {
		switch n := counts[h.kind]; n {
		case 0:
		case 1:
			words = append(words, h.one)
		default:
			words = append(words, counted(n, h.one, h.many))
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

// counted says how many of something there are.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// holdersOf returns what keeps a namespace, besides threads and what this process
// looks at it by.
func holdersOf(inode uint64) ([]host.Holder, error) {
	census, err := host.Proc("/proc").Census()
	if err != nil {
		return nil, err
	}
	for _, ns := range census.Namespaces {
		if ns.Inode == inode {
			return slices.DeleteFunc(ns.Holders, func(h host.Holder) bool { return h.PID == os.Getpid() }), nil
		}
	}
	return nil, nil
}

// holderInWords says what a holder is.
func holderInWords(h host.Holder) string {
	switch h.Kind {
	case host.HeldByDescriptor:
		return fmt.Sprintf("descriptor %d of %s", h.FD, processInWords(h.PID))
	case host.HeldByMount:
		return "a mount at " + h.Path
	case host.HeldByAttachment:
		return "a segment that " + processInWords(h.PID) + " has attached"
	case host.HeldByTable:
		return fmt.Sprintf("an open file of /proc/sysvipc, descriptor %d of %s", h.FD, processInWords(h.PID))
	case host.HeldByContext:
		return fmt.Sprintf("a file system of queues to be mounted, descriptor %d of %s", h.FD, processInWords(h.PID))
	}
	return "what nothing shows, perhaps a descriptor in flight"
}

func processInWords(pid int) string {
	command, _, _ := strings.Cut(host.Proc("/proc").Command(pid), " ")
	return fmt.Sprintf("process %d (%s)", pid, path.Base(command))
}
