//go:build linux

package supervise_test

import (
	"os/exec"
	"strings"
	"testing"
)

// queues is a script that prints how many queues the namespace has.
const queues = `ipcs -q | grep -c ^0x;`

// TestNamespacesWithin makes namespaces inside one with unshare(1), and compares
// with the kernel where this user may make those.
func TestNamespacesWithin(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"begin empty": {`ipcmk -Q >/dev/null; ` + queues + ` unshare -i sh -c '` + queues + ` ipcmk -Q >/dev/null; ipcmk -Q >/dev/null; ` + queues + `'; ` + queues, "1\n0\n2\n1\n"},
		"are those of children": {`unshare -i sh -c 'ipcmk -Q >/dev/null; (sh -c "` + queues + `"); python3 -c "import ctypes, os
if os.fork() == 0: os._exit(ctypes.CDLL(None).msgget(7, 0o1600))
print(os.wait()[1] >> 8)"'`, "1\n1\n"},
		"nest": {`unshare -i sh -c 'ipcmk -Q >/dev/null; unshare -i sh -c "` + queues + `"; ` + queues + `'; ` + queues, "0\n1\n0\n"},
		"are those of the thread that becomes another program": {`python3 -c "
import ctypes, os, threading
l = ctypes.CDLL(None)
l.msgget(5, 0o1600)
def become():
    assert l.unshare(0x08000000) == 0
    os.execlp('python3', 'python3', '-c', 'import ctypes; print(ctypes.CDLL(None).msgget(5, 0o600))')
t = threading.Thread(target=become)
t.start()
t.join()"`, "-1\n"},
		"leave what was started before": {`python3 -c "
import ctypes, os
l = ctypes.CDLL(None)
r, w = os.pipe()
if os.fork() == 0:
    os.read(r, 1)
    os._exit(l.msgget(5, 0o600) + 1)
l.msgget(5, 0o1600)
assert l.unshare(0x08000000) == 0
assert l.msgget(5, 0o600) == -1
os.write(w, b'.')
print(os.wait()[1] >> 8)"`, "1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := supervised(t, newSupervisor(t), "sh", "-c", c.script).CombinedOutput()
			if string(output) != c.want {
				t.Errorf("under the supervisor: %s(%v); want %s", output, err, c.want)
			}
			kernel, err := exec.Command("unshare", "-i", "sh", "-c", c.script).CombinedOutput()
			if strings.Contains(string(kernel), "not permitted") {
				t.Skip("the kernel lets this user make no namespace to compare with")
			}
			if string(kernel) != c.want {
				t.Errorf("on the kernel: %s(%v); want %s", kernel, err, c.want)
			}
		})
	}
}
