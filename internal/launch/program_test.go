//go:build linux

package launch_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// TestTheProcessBecomesTheProgram looks at where the program is, for all that
// can be shared.
func TestTheProcessBecomesTheProgram(t *testing.T) {
	// A directory is known by its device: each file system has another.
	const look = `echo $$; readlink /proc/$$/ns/ipc /proc/$$/ns/mnt; stat -c %d /dev/shm; stat -f -c %T /dev/mqueue 2>/dev/null || echo none; test -c /dev/null && echo null`
	forEachUser(t, func(t *testing.T, u user) {
		here := lines(t, run(t, exec.Command("/bin/sh", "-c", look)), 6)
		for _, share := range []struct{ mqueue, shm bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
			o := script(look)
			o.Mqueue, o.Shm = !share.mqueue, !share.shm
			got := run(t, u.as(o.command(t)))
			t.Run(fmt.Sprintf("shared mqueue %v, shm %v", share.mqueue, share.shm), func(t *testing.T) {
				there := lines(t, got, 6)
				if there[0] != strconv.Itoa(got.pid) {
					t.Errorf("process %s, was %d", there[0], got.pid)
				}
				if there[1] == here[1] {
					t.Errorf("in the same IPC namespace %s", there[1])
				}
				if same := there[2] == here[2]; same != (share.mqueue && share.shm) {
					t.Errorf("in mount namespace %s, was in %s", there[2], here[2])
				}
				if same := there[3] == here[3]; same != share.shm {
					t.Errorf("/dev/shm is device %s, was %s", there[3], here[3])
				}
				if share.mqueue && there[4] != here[4] || !share.mqueue && there[4] != "mqueue" {
					t.Errorf("/dev/mqueue is %s, was %s", there[4], here[4])
				}
				if there[5] != "null" {
					t.Error("/dev/null is not there")
				}
			})
		}
	})
}

// lines returns the lines that a program has written, which are so many.
func lines(t *testing.T, r result, n int) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if r.status != 0 || len(lines) != n {
		t.Fatalf("status %d, wrote %s%s", r.status, r.stdout, r.stderr)
	}
	return lines
}

const showQueue = "make a POSIX queue and look for it"

// TestMqueueShowsTheProgramsQueues makes a queue in the program, and a file.
func TestMqueueShowsTheProgramsQueues(t *testing.T) {
	forEachUser(t, func(t *testing.T, u user) {
		o := order{Path: "/proc/self/exe", Args: []string{"test"}, Env: ipctest.Again(showQueue).Env, Mqueue: true, Shm: true}
		run(t, u.as(o.command(t))).expect(t, "mqueue: [queue]\nshm: [file]\n")
	})
}

func makeAndShowQueue() error {
	fd, err := ipctest.MqOpen("queue", unix.O_RDONLY|unix.O_CREAT, 0, nil)
	if err != nil {
		return err
	}
	unix.Close(fd)
	if err := os.WriteFile("/dev/shm/file", nil, 0o600); err != nil {
		return err
	}
	for _, dir := range []string{"mqueue", "shm"} {
		entries, err := os.ReadDir("/dev/" + dir)
		if err != nil {
			return err
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		fmt.Printf("%s: %v\n", dir, names)
	}
	return nil
}

// TestArgumentsAndEnvironmentArriveAsTheyAre has what a careless copy changes.
func TestArgumentsAndEnvironmentArriveAsTheyAre(t *testing.T) {
	odd := []string{"", "two words", "new\nline", "\xff\x01", strings.Repeat("x", 100<<10), "--", "-c", "$HOME", "", "", "last"}
	environment := []string{"A=1", "A=2", "EMPTY=", "", "NO EQUALS SIGN", "=", "ODD=\n\xff", "BIG=" + strings.Repeat("y", 100<<10), "LAST="}
	forEachUser(t, func(t *testing.T, u user) {
		for name, env := range map[string][]string{"an odd environment": environment, "no environment": nil} {
			t.Run(name, func(t *testing.T) {
				// A child, as exec would make them those of cat.
				o := script("/bin/cat /proc/$$/cmdline; :", odd...)
				o.Env = env
				run(t, u.as(o.command(t))).expect(t, strings.Join(o.Args, "\x00")+"\x00")
				o.Args[2] = "/bin/cat /proc/$$/environ; :"
				want := strings.Join(env, "\x00")
				if len(env) > 0 {
					want += "\x00"
				}
				run(t, u.as(o.command(t))).expect(t, want)
			})
		}
	})
}

// TestNothingOfTheLaunchIsLeft compares a program with one that was started
// without a launch.
func TestNothingOfTheLaunchIsLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	extra, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	const look = `ls /proc/$$/fd; readlink /proc/$$/fd/4
grep -E '^(Sig(Pnd|Blk|Ign|Cgt)|ShdPnd|NoNewPrivs|Seccomp|Threads|Umask|Uid|Gid|Cap(Inh|Prm|Eff|Amb))' /proc/self/status
ulimit -S -a; ulimit -H -a; readlink /proc/$$/exe; cat /proc/$$/comm; grep -E 'ipcns|memfd' /proc/$$/maps
cut -d' ' -f4-8 /proc/$$/stat`
	forEachUser(t, func(t *testing.T, u user) {
		// Descriptor 3 is the order of a launch, which closes it.
		without := u.as(exec.Command("/bin/sh", "-c", "exec 3<&-; "+look))
		without.ExtraFiles = []*os.File{extra, extra}
		want := run(t, without)
		for name, o := range map[string]order{
			"with everything shared": {},
			"with nothing shared":    {Mqueue: true, Shm: true},
			"with limits":            {Limits: "msgmax=100"},
		} {
			t.Run(name, func(t *testing.T) {
				o.Path, o.Args, o.Env = "/bin/sh", []string{"sh", "-c", look}, os.Environ()
				cmd := u.as(o.command(t))
				cmd.ExtraFiles = append(cmd.ExtraFiles, extra)
				run(t, cmd).expect(t, want.stdout)
			})
		}
	})
}

// TestSignalsAndLimitsAreKept starts the launch from a program that blocks
// signals, also some that Go unblocks for itself, ignores two and has few
// descriptors.
func TestSignalsAndLimitsAreKept(t *testing.T) {
	env := []string{"env", "--block-signal", "--ignore-signal=HUP,INT"}
	if out, err := exec.Command(env[0], append(env[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("env cannot block signals: %s", out)
	}
	// Not by a shell, which changes the signal mask.
	look := []string{"grep", "-E", "^(Sig(Blk|Ign)|Max open files)", "/proc/self/status", "/proc/self/limits"}
	grep, err := exec.LookPath("grep")
	if err != nil {
		t.Fatal(err)
	}
	limited := func(command ...string) []string {
		return append([]string{"-c", `ulimit -S -n 100; exec "$@"`, "sh"}, append(env, command...)...)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	forEachUser(t, func(t *testing.T, u user) {
		want := run(t, u.as(exec.Command("/bin/sh", limited(look...)...)))
		launched := u.as(order{Path: grep, Args: look, Env: os.Environ()}.command(t))
		launched.Path, launched.Args = "/bin/sh", append([]string{"sh"}, limited("/proc/self/fd/4")...)
		launched.ExtraFiles = append(launched.ExtraFiles, self)
		run(t, launched).expect(t, want.stdout)
	})
}

func TestLimitsAreSetBeforeTheProgramStarts(t *testing.T) {
	const look = "cat /proc/sys/kernel/msgmax /proc/sys/kernel/sem /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max; id -u"
	forEachUser(t, func(t *testing.T, u user) {
		o := script(look)
		o.Limits = "msgmax=4k,semopm=7,semmni=9,msg_max=3,shmmax=18446744073709551615,semopm=8"
		want := fmt.Sprintf("4096\n32000\t1024000000\t8\t9\n18446744073709551615\n3\n%d\n", u.uid)
		run(t, u.as(o.command(t))).expect(t, want)
		o.Mqueue, o.Shm = true, true
		run(t, u.as(o.command(t))).expect(t, want)
	})
}

func TestRootSeesItselfAsRoot(t *testing.T) {
	forEachUser(t, func(t *testing.T, u user) {
		for _, limits := range []string{"", "msgmax=1"} {
			o := script("id -u; id -g; cat /proc/self/setgroups; cat /proc/self/uid_map | tr -s ' '")
			o.Root, o.Limits = true, limits
			want := "0\n0\ndeny\n" + fmt.Sprintf(" 0 %d 1\n", u.uid)
			if u.uid == 0 {
				want = run(t, exec.Command(o.Path, o.Args[1:]...)).stdout
			}
			run(t, u.as(o.command(t))).expect(t, want)
		}
	})
}

// TestACapabilityIsNotRoot has CAP_SYS_ADMIN without being uid 0, to whom the
// limits belong (SEMANTICS A.2.13).
func TestACapabilityIsNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can pass the capability on")
	}
	needUserNamespace(t)
	home, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		order order
		want  string // uid, msgmax and whether the user namespace is the same
	}{
		"no need for root":    {order{}, "65534 8192 true\n"},
		"to be seen as root":  {order{Root: true}, "0 8192 false\n"},
		"to set a limit":      {order{Limits: "msgmax=5"}, "65534 5 false\n"},
		"to be root and that": {order{Root: true, Limits: "msgmax=5"}, "0 5 false\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := script(`[ $(readlink /proc/self/ns/user) = "$1" ] && same=true; echo $(id -u) $(cat /proc/sys/kernel/msgmax) ${same-false}`, "sh", home)
			o.Root, o.Limits = c.order.Root, c.order.Limits
			cmd := ipctest.AsNobody(o.command(t))
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
			run(t, cmd).expect(t, c.want)
		})
	}
}

// TestAScriptNeedsNoFirstLine runs a file that the kernel refuses, as the shell
// does.
func TestAScriptNeedsNoFirstLine(t *testing.T) {
	path := programFile(t, "echo \"$0\" \"$@\"; echo $VARIABLE\n", 0o755)
	forEachUser(t, func(t *testing.T, u user) {
		o := order{Path: path, Args: []string{"another name", "an argument", ""}, Env: []string{"VARIABLE=value"}}
		run(t, u.as(o.command(t))).expect(t, path+" an argument \nvalue\n")
	})
}

// programFile makes a file in a directory that every user may look into.
func programFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProgramThatCannotBeRun(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		args    []string
		status  int
		text    string
	}{
		"missing interpreter":    {"#!/no/such/interpreter\n", 0o755, nil, launch.StatusNotFound, "cannot run %s: the interpreter that it names does not exist"},
		"refused interpreter":    {"#!/etc/passwd\n", 0o755, nil, launch.StatusNotRunnable, "cannot run %s: permission denied; look at its permissions, its interpreter's, and whether its file system is mounted noexec"},
		"no execute permission":  {"", 0o644, nil, launch.StatusNotRunnable, "cannot run %s: permission denied; look at its permissions, its interpreter's, and whether its file system is mounted noexec"},
		"an argument of 200 KiB": {"", 0o755, []string{strings.Repeat("x", 200<<10)}, launch.StatusNotRunnable, "cannot run %s: argument list too long"},
	} {
		t.Run(name, func(t *testing.T) {
			path := programFile(t, c.content, c.mode)
			forEachUser(t, func(t *testing.T, u user) {
				o := order{Path: path, Args: append([]string{"program"}, c.args...), Env: os.Environ()}
				run(t, u.as(o.command(t))).expectFailure(t, c.status, fmt.Sprintf(c.text, path))
			})
		})
	}
}
