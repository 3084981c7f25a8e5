//go:build linux

package sysv_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ipcns/ipcns/sysv"
)

// TestFtok compares keys with those of the C library, which perl asks.
func TestFtok(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink("file", link))
	for _, path := range []string{file, link, dir, "/", "/dev/null"} {
		for _, project := range []byte{1, 'A', 255} {
			text, err := exec.Command("perl", "-MIPC::SysV=ftok", "-e", "print ftok($ARGV[0], $ARGV[1] + 0)", path, fmt.Sprint(project)).CombinedOutput()
			if err != nil {
				t.Skipf("perl has no IPC::SysV: %v: %s", err, text)
			}
			key, err := sysv.Ftok(path, project)
			if got := fmt.Sprint(int32(key)); err != nil || got != string(text) {
				t.Errorf("Ftok(%s, %d): got %s, error %v, want %s", path, project, got, err, text)
			}
		}
	}
}

func TestFtokOfNoFile(t *testing.T) {
	_, err := sysv.Ftok("/nonexistent", 1)
	const want = "ftok: stat /nonexistent: no such file or directory"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %s", err, want)
	}
}
