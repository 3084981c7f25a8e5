//go:build linux

package registry_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// attach is the role of a process that makes a segment and attaches it.
const attach = "attach a segment"

func attachSegment() error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1, 0o600)
	if err != nil {
		return err
	}
	if _, err := unix.SysvShmAttach(id, 0, 0); err != nil {
		return err
	}
	fmt.Println("attached")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestMembers looks at who is in a namespace, and waits until nobody is.
func TestMembers(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	web := find(t, names, "web")
	membersOf := func() []int {
		members, err := registry.Members()
		ipctest.Must(t, err)
		return members.In(web)
	}
	if got := membersOf(); len(got) > 0 {
		t.Errorf("members %v of a namespace without a process", got)
	}
	ipctest.Must(t, registry.Wait(web))
	first, second := sleepIn(t, names, "web"), sleepIn(t, names, "web")
	want := []int{first.Process.Pid, second.Process.Pid}
	slices.Sort(want)
	if got := membersOf(); !slices.Equal(got, want) {
		t.Errorf("members %v, want %v", got, want)
	}
	waited := ipctest.Begun(func() error { return registry.Wait(web) })
	first.Process.Kill()
	first.Wait()
	select {
	case err := <-waited:
		t.Error("it has waited for one only: ", err)
	case <-time.After(ipctest.Tick):
	}
	second.Process.Kill()
	second.Wait()
	ipctest.Must(t, ipctest.Received(t, waited))
	members, err := registry.Members()
	ipctest.Must(t, err)
	if got := members.In(&registry.Namespace{State: registry.Stale, Inode: ownInode(t)}); got != nil {
		t.Errorf("what has ended has members %v", got)
	}
}

func ownInode(t *testing.T) uint64 {
	ns, err := ipcns.Current()
	ipctest.Must(t, err)
	defer ns.Close()
	return ns.Inode()
}

// TestRemoveIsRefused names what keeps a name from being removed.
func TestRemoveIsRefused(t *testing.T) {
	names := newNames(t)
	_, err := names.Remove("web", registry.Removal{})
	wantError(t, err, `cannot remove web: there is no namespace web; see "ipcns ls", or make it with "ipcns create web"`)

	ipctest.Must(t, names.Create("web", registry.Spec{}))
	for i, want := range []string{
		"web/1 is", "web/1 and web/2 are", "web/1, web/2 and web/3 are", "web/1, web/2, web/3 and web/4 are",
		"web/1, web/2, web/3, web/4 and web/5 are", "web/1, web/2, web/3, web/4 and 2 more are",
	} {
		ipctest.Must(t, names.Create(fmt.Sprint("web/", i+1), registry.Spec{ShareMqueue: true, ShareShm: true}))
		_, err := names.Remove("web", registry.Removal{})
		wantError(t, err, "cannot remove web: "+want+" inside it; use -r to remove what is inside too")
	}
	pid := sleepIn(t, names, "web/3").Process.Pid
	_, err = names.Remove("web", registry.Removal{Recursive: true})
	wantError(t, err, fmt.Sprintf("cannot remove web: process %d (sleep) is in web/3; end what runs there, or use -f to leave it in a namespace without objects and name", pid))
	notes, err := names.Remove("web", registry.Removal{Recursive: true, Force: true})
	if len(notes) > 0 || err != nil {
		t.Error(notes, err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Error("the process has ended: ", err)
	}
}

// TestRemoveTellsOfSegmentsThatStay has a process that has attached one.
func TestRemoveTellsOfSegmentsThatStay(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	inside := func() *exec.Cmd {
		cmd := again(command, append([]string{"exec", "web"}, within(attach)...)...)
		stdout, err := cmd.StdoutPipe()
		ipctest.Must(t, err)
		_, err = cmd.StdinPipe()
		ipctest.Must(t, err)
		start(t, cmd)
		for _, file := range cmd.ExtraFiles {
			file.Close()
		}
		_, err = stdout.Read(make([]byte, 1))
		ipctest.Must(t, err)
		return cmd
	}
	first := inside()
	command := registry.Commands([]int{first.Process.Pid})[0]
	notes, err := names.Remove("web", registry.Removal{Force: true})
	ipctest.Must(t, err)
	if want := "web: a segment is still attached by " + command + ", and ends when that lets go of it"; len(notes) != 1 || notes[0] != want {
		t.Errorf("got  %q\nwant %q", notes, want)
	}

	ipctest.Must(t, names.Create("web", registry.Spec{}))
	second, third := inside(), inside()
	pids := []int{second.Process.Pid, third.Process.Pid}
	slices.Sort(pids)
	notes, err = names.Remove("web", registry.Removal{Force: true})
	ipctest.Must(t, err)
	if want := "web: 2 segments are still attached by " + strings.Join(registry.Commands(pids), ", ") + ", and ends when that lets go of it"; len(notes) != 1 || notes[0] != want {
		t.Errorf("got  %q\nwant %q", notes, want)
	}
}

func TestRename(t *testing.T) {
	names := newNames(t)
	for _, name := range []string{"web", "web/db", "other"} {
		ipctest.Must(t, names.Create(name, registry.Spec{}))
	}
	before := find(t, names, "web/db")
	ipctest.Must(t, names.Rename("web", "www"))
	if got := list(t, names); got != "other alive\nwww alive\nwww/db alive" {
		t.Error(got)
	}
	ipctest.Must(t, names.Rename("www/db", "other/deep"))
	if after := find(t, names, "other/deep"); after.ID != before.ID || after.Inode != before.Inode {
		t.Errorf("%+v is not %+v", after, before)
	}
	for _, c := range []struct{ from, to, want string }{
		{"no", "new", `cannot rename no to new: there is no namespace no; see "ipcns ls", or make it with "ipcns create no"`},
		{"other", "other/deep/er", "cannot rename other to other/deep/er: a namespace cannot be inside itself"},
		{"other", "www", "cannot rename other to www: a namespace of that name exists" + kept(find(t, names, "www")) + `; use "ipcns exec www", or another name`},
		{"other", "no/new", `cannot rename other to no/new: there is no namespace no; see "ipcns ls", or make it with "ipcns create no"`},
		{"other", "self", `"self" is no name for a namespace, since it means one already; use another`},
	} {
		wantError(t, names.Rename(c.from, c.to), c.want)
	}
}

// TestAdopt gives a name to the namespace of a process, which stays when that
// has ended, and shows the /dev/shm that it had.
func TestAdopt(t *testing.T) {
	names := newNames(t)
	process, err := startElsewhere()
	ipctest.Must(t, err)
	defer process.Kill()
	ipctest.Must(t, names.Adopt("box", process.Pid))
	box := find(t, names, "box")
	inode, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", process.Pid))
	ipctest.Must(t, err)
	if !box.Adopted || fmt.Sprintf("ipc:[%d]", box.Inode) != inode || box.Share != nil {
		t.Errorf("%+v is not %s", box, inode)
	}
	wantError(t, names.Adopt("again", process.Pid), fmt.Sprintf(`cannot adopt again: the namespace of process %d has a name: box; use that, or "ipcns rename"`, process.Pid))

	process.Kill()
	process.Wait()
	if got := output(t, again(command, "exec", "box", "sh", "-c", "readlink /proc/self/ns/ipc; ls /dev/shm")); got != inode+"\nits-own\n" {
		t.Errorf("%q", got)
	}
	notes, err := names.Remove("box", registry.Removal{})
	if len(notes) > 0 || err != nil {
		t.Error(notes, err)
	}
}

// TestAdoptWithoutMounts gives a name to the namespace of a process that has
// this one's /dev/shm.
func TestAdoptWithoutMounts(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{ShareMqueue: true, ShareShm: true}))
	pid := sleepIn(t, names, "web").Process.Pid
	_, err := names.Remove("web", registry.Removal{Force: true})
	ipctest.Must(t, err)
	ipctest.Must(t, names.Adopt("again", pid))
	if again := find(t, names, "again"); !slices.Equal(again.Share, []string{"shm"}) {
		t.Errorf("%+v", again)
	}
	output(t, again(command, "exec", "again", "true"))
	// A member does not keep a name that is none of its making.
	_, err = names.Remove("again", registry.Removal{})
	ipctest.Must(t, err)
}

func TestAdoptIsRefused(t *testing.T) {
	names := newNames(t)
	ended := exec.Command("true")
	ipctest.Must(t, ended.Run())
	pid := ended.Process.Pid
	wantError(t, names.Adopt("box", pid), fmt.Sprintf("cannot open the IPC namespace of process %d: there is no such process", pid))

	initial := os.Getpid()
	if os.Geteuid() == 0 {
		initial = os.Getppid()
	}
	ns, err := ipcns.OpenPID(initial)
	ipctest.Must(t, err)
	defer ns.Close()
	if !ns.Initial() {
		t.Skip("the tests are not run from the machine's initial namespace")
	}
	wantError(t, names.Adopt("box", initial), fmt.Sprintf("cannot adopt the namespace of process %d: it is the machine's own; it is called init", initial))
}
