//go:build linux

package listing

import (
	"os"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

// Names shows users and groups: by the names in /etc/passwd and /etc/group,
// by the number if there is none. The zero Names is ready for use.
//
// These files are read here because os/user shows $USER for the own user id
// when the file has no name for it, and reads the file once for every id.
type Names struct {
	// UID and GID translate the ids that the namespace shows into those of
	// the reader, for a namespace that is read from inside a user namespace
	// with other ids. Nil leaves them as they are.
	UID, GID func(uint32) uint32

	users, groups map[uint32]string
}

func (n *Names) uid(id uint32) uint32 { return translate(n.UID, id) }
func (n *Names) gid(id uint32) uint32 { return translate(n.GID, id) }

func translate(to func(uint32) uint32, id uint32) uint32 {
	if to == nil {
		return id
	}
	return to(id)
}

func (n *Names) translate(perm *ipc.Perm) {
	perm.UID, perm.GID = n.uid(perm.UID), n.gid(perm.GID)
	perm.CUID, perm.CGID = n.uid(perm.CUID), n.gid(perm.CGID)
}

// Translate gives objects the ids of the reader.
func (n *Names) Translate(c *host.Contents) {
	for i := range c.Queues {
		n.translate(&c.Queues[i].Perm)
	}
	for i := range c.Sets {
		n.translate(&c.Sets[i].Perm)
	}
	for i := range c.Segments {
		n.translate(&c.Segments[i].Perm)
	}
	for i := range c.Mqueues {
		c.Mqueues[i].UID, c.Mqueues[i].GID = n.uid(c.Mqueues[i].UID), n.gid(c.Mqueues[i].GID)
	}
}

// User returns the name of a user id that was translated.
func (n *Names) User(id uint32) string {
	if n.users == nil {
		n.users = readNames("/etc/passwd")
	}
	return nameOf(n.users, id)
}

// group returns the name of a group id that was translated.
func (n *Names) group(id uint32) string {
	if n.groups == nil {
		n.groups = readNames("/etc/group")
	}
	return nameOf(n.groups, id)
}

func nameOf(names map[uint32]string, id uint32) string {
	name, found := names[id]
	if !found {
		name = strconv.FormatUint(uint64(id), 10)
		names[id] = name
	}
	return name
}

// readNames reads the names of passwd(5) or group(5), which both begin with
// name:password:id. The first name of an id counts. A file that cannot be
// read has no names.
func readNames(path string) map[uint32]string {
	names := make(map[uint32]string)
	text, err := os.ReadFile(path)
	if err != nil {
		return names
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if len(fields) < 3 || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if _, taken := names[uint32(id)]; !taken {
			names[uint32(id)] = fields[0]
		}
	}
	return names
}

// Owner returns the names of who owns an object, and of the object's group.
func (n *Names) Owner(perm ipc.Perm) (user, group string) {
	return n.User(n.uid(perm.UID)), n.group(n.gid(perm.GID))
}

// Creator returns the names of who made an object, and of the group.
func (n *Names) Creator(perm ipc.Perm) (user, group string) {
	return n.User(n.uid(perm.CUID)), n.group(n.gid(perm.CGID))
}
