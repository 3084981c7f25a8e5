//go:build linux

package launch

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Find returns the file that execvp(3) would run for name: name itself if it
// has a slash, otherwise the first in the directories of path, the value of
// PATH, that may be run. The error is an [*Error].
func Find(name, path string) (string, error) {
	if name == "" {
		return "", notFound(name)
	}
	if strings.Contains(name, "/") {
		if err := runnable(name); err != nil {
			return "", err
		}
		return name, nil
	}
	var refused error
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		var st unix.Stat_t
		if unix.Stat(file, &st) != nil {
			continue // what is in a directory that may not be searched was not found
		}
		err := runnable(file)
		if err == nil {
			return file, nil
		}
		if e := err.(*Error); e.Status == StatusNotRunnable && refused == nil {
			refused = err
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", notFound(name)
}

func notFound(name string) error {
	text := fmt.Sprintf("cannot run %s: there is no such program; give its path, or check PATH", quoteEmpty(name))
	if strings.Contains(name, "/") { // which is not looked up in PATH
		text = fmt.Sprintf("cannot run %s: there is no such file; check the path", name)
	}
	return &Error{Status: StatusNotFound, errno: unix.ENOENT, text: text}
}

func quoteEmpty(name string) string {
	if name == "" {
		return `""`
	}
	return name
}

// runnable returns nil if the file may be run.
func runnable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return notFound(file)
		}
		return &Error{Status: StatusNotRunnable, errno: errnoOf(err), text: fmt.Sprintf("cannot run %s: %v", file, err)}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &Error{Status: StatusNotRunnable, errno: unix.EISDIR, text: fmt.Sprintf("cannot run %s: it is a directory", file)}
	}
	if err := unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS); err != nil {
		text := fmt.Sprintf("cannot run %s: %v; is it executable?", file, err)
		if err == unix.EACCES && st.Mode&0o111 != 0 && onNoexec(file) {
			text = fmt.Sprintf("cannot run %s: its file system is mounted noexec; copy it to another, or mount that with exec", file)
		}
		return &Error{Status: StatusNotRunnable, errno: errnoOf(err), text: text}
	}
	return nil
}

// onNoexec reports whether the file is on a mount from which nothing is run.
func onNoexec(file string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(file, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}
