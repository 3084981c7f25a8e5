//go:build linux

package launch_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

// The roles of a process that enters what is behind the descriptors 3 and 4,
// and of what it becomes.
const (
	enter      = "enter the namespaces of the descriptors 3 and 4"
	showInside = "show where it is"
)

// startOrdinary starts a program of an ordinary user in a namespace, for as
// long as the test takes.
func startOrdinary(t *testing.T) *exec.Cmd {
	t.Helper()
	needUserNamespace(t)
	o := script("echo ready; exec cat")
	cmd := ipctest.AsNobody(o.command(t))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if n, err := stdout.Read(make([]byte, 10)); n == 0 {
		t.Fatal(err)
	}
	return cmd
}

// entering returns an ordinary user's process that enters the namespaces of
// the files.
func entering(t *testing.T, user, ipc string) *exec.Cmd {
	t.Helper()
	mounts, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	cmd := ipctest.AsNobody(ipctest.Again(enter, "an argument", "", mounts))
	for _, path := range []string{user, ipc} {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	return cmd
}

func enterAnother() error {
	tell(launch.Inside(3, 4, append([]string{"a name"}, os.Args[1:]...), ipctest.Again(showInside).Env))
	return nil
}

// TestInsideEntersWhatAnOrdinaryUserHasMade looks from within a namespace that
// belongs to a user namespace.
func TestInsideEntersWhatAnOrdinaryUserHasMade(t *testing.T) {
	target := fmt.Sprintf("/proc/%d/ns/", startOrdinary(t).Process.Pid)
	link := func(name string) string {
		link, err := os.Readlink(target + name)
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	uid := os.Geteuid()
	if uid == 0 {
		uid = ipctest.Nobody
	}
	cmd := entering(t, target+"user", target+"ipc")
	got := run(t, cmd)
	got.expect(t, fmt.Sprintf(`process %d of user %d
in %s and %s
arguments ["a name" "an argument" ""]
mount namespace its own: true
descriptors of namespaces: 0
CapEff:	0000000000200002
CapAmb:	0000000000200002
`, got.pid, uid, link("user"), link("ipc")))
}

func showWhereItIs() error {
	link := func(name string) string { link, _ := os.Readlink("/proc/self/ns/" + name); return link }
	fmt.Printf("process %d of user %d\nin %s and %s\n", os.Getpid(), os.Geteuid(), link("user"), link("ipc"))
	fmt.Printf("arguments %q\n", os.Args[:3])
	fmt.Println("mount namespace its own:", link("mnt") != "" && link("mnt") != os.Args[3])
	namespaces := 0
	for fd := range 100 {
		if target, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); err == nil && strings.Contains(target, ":[") && !strings.HasPrefix(target, "pipe") {
			namespaces++
		}
	}
	fmt.Println("descriptors of namespaces:", namespaces)
	status, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "CapAmb") {
			fmt.Print(line)
		}
	}
	return err
}

func TestInsideIsRefused(t *testing.T) {
	target := fmt.Sprintf("/proc/%d/ns/", startOrdinary(t).Process.Pid)
	const own = "/proc/self/ns/"
	for name, c := range map[string]struct {
		user, ipc string
		text      string
	}{
		"where the user already is":            {own + "user", target + "ipc", "cannot enter the user namespace that owns the IPC namespace: invalid argument; run as root"},
		"what is no user namespace":            {target + "ipc", target + "ipc", "cannot enter the user namespace that owns the IPC namespace: invalid argument; run as root"},
		"an IPC namespace of another":          {target + "user", own + "ipc", "cannot enter the IPC namespace: operation not permitted; run as root"},
		"a mount namespace as IPC namespace":   {target + "user", target + "mnt", "cannot enter the IPC namespace: invalid argument; run as root"},
		"a file that is no namespace, as user": {"/etc/passwd", target + "ipc", "cannot enter the user namespace that owns the IPC namespace: invalid argument; run as root"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, entering(t, c.user, c.ipc)).expectFailure(t, launch.StatusFailed, c.text)
		})
	}
}
