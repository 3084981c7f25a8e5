//go:build linux

package host

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Cgroup is what a process belongs to, as the names of its control groups tell:
// those who make them put it there.
type Cgroup struct {
	Container string // as docker:0123456789ab, or "" for none
	Unit      string // of systemd, as nginx.service, or "" for none
}

// String returns the container, or the unit of what is in none.
func (c Cgroup) String() string {
	if c.Container != "" {
		return c.Container
	}
	return c.Unit
}

// Cgroup returns what a process belongs to; see cgroups(7).
func (proc Proc) Cgroup(pid int) (Cgroup, error) {
	text, err := os.ReadFile(filepath.Join(string(proc), strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return Cgroup{}, err
	}
	return parseCgroup(string(text)), nil
}

// parseCgroup reads the control groups of a process, of both versions. Those of
// systemd come last in the file, and in those of others a container may have
// been put without it.
func parseCgroup(text string) (c Cgroup) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		names := strings.Split(fields[2], "/")
		if container := containerOf(names); container != "" {
			c.Container = container
		}
		if fields[1] == "" || fields[1] == "name=systemd" {
			if unit := unitOf(names); unit != "" {
				c.Unit = unit
			}
		}
	}
	return c
}

// unitOf returns the innermost unit of systemd that is named, as systemctl(1)
// takes it. A slice is one of those that have no other.
func unitOf(names []string) (slice string) {
	for _, name := range slices.Backward(names) {
		switch filepath.Ext(name) {
		case ".service", ".scope", ".socket", ".mount", ".swap":
			return name
		case ".slice":
			slice = cmp.Or(slice, name)
		}
	}
	return slice
}

// scopes are how the scopes of containers begin, and who makes them.
var scopes = []struct{ begins, runtime string }{
	{"docker-", "docker"},
	{"libpod-", "podman"},
	{"crio-", "crio"},
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
}

// containerOf returns the innermost container that is named.
func containerOf(names []string) string {
	for i, name := range slices.Backward(names) {
		before := ""
		if i > 0 {
			before = names[i-1]
		}
		if container := container(name, before, names[:i]); container != "" {
			return container
		}
	}
	return ""
}

// container returns the container that a control group is of.
func container(name, before string, above []string) string {
	for _, s := range scopes {
		if id, is := strings.CutPrefix(name, s.begins); is && isContainerID(strings.TrimSuffix(id, ".scope")) {
			return s.runtime + ":" + short(strings.TrimSuffix(id, ".scope"))
		}
	}
	for _, runtime := range []string{"crun", "runc"} { // without an engine: with any name
		if id, is := strings.CutPrefix(name, runtime+"-"); is && strings.HasSuffix(id, ".scope") && id != ".scope" {
			return runtime + ":" + short(strings.TrimSuffix(id, ".scope"))
		}
	}
	if machine, is := strings.CutPrefix(name, "machine-"); is && strings.HasSuffix(machine, ".scope") {
		return "machine:" + unescapedName(strings.TrimSuffix(machine, ".scope"))
	}
	if machine, is := strings.CutPrefix(name, "systemd-nspawn@"); is {
		return "machine:" + unescapedName(strings.TrimSuffix(machine, ".service"))
	}
	if lxc, is := strings.CutPrefix(name, "lxc.payload."); is {
		return "lxc:" + lxc
	}
	switch {
	case before == "lxc" || before == "lxc.payload":
		return "lxc:" + name
	case before == "docker" && isContainerID(name):
		return "docker:" + short(name)
	case isContainerID(name) && slices.ContainsFunc(above, func(s string) bool { return strings.HasPrefix(s, "kubepods") }):
		return "kubernetes:" + short(name)
	}
	return ""
}

// isContainerID reports whether a name is 64 hexadecimal digits.
func isContainerID(name string) bool {
	const digits = 64
	return len(name) == digits && strings.Trim(name, "0123456789abcdef") == ""
}

// short returns as much of a container's id as its tools show. A name is whole.
func short(id string) string {
	if !isContainerID(id) {
		return id
	}
	return id[:12]
}

// unescapedName returns the name of a machine, in which dashes and the like may be
// written as \x2d; see systemd.unit(5).
func unescapedName(name string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(name, `\x`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		code, err := strconv.ParseUint(after[:min(2, len(after))], 16, 8)
		if err != nil || len(after) < 2 {
			b.WriteString(`\x`)
			name = after
			continue
		}
		b.WriteByte(byte(code))
		name = after[2:]
	}
}
