//go:build linux

// Package run is what "ipcns run" is asked for and does. It needs little, so
// that it can be done before the rest of the program is initialised; see
// package early.
package run

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/ipc"
)

// A Request is what the command line asks for.
type Request struct {
	Share  []string // what stays the host's: mqueue, shm
	Limits []string // NAME=VALUE
	Root   bool
	Args   []string // the program and its arguments
}

// ErrNoProgram is why a request without a program fails.
var ErrNoProgram = errors.New(`no program to run; write "ipcns run -- CMD [ARG...]"`)

// Become turns the process into the program. It returns only if that failed.
// Nothing has been changed if the request is wrong or there is no such
// program.
func (r Request) Become() error {
	if len(r.Args) == 0 {
		return ErrNoProgram
	}
	ns, err := r.namespace()
	if err != nil {
		return err
	}
	path, err := launch.Find(r.Args[0], searchPath())
	if err != nil {
		return err
	}
	return launch.InNew(ns, launch.Program{Path: path, Args: r.Args, Env: os.Environ()})
}

func (r Request) namespace() (launch.Namespace, error) {
	for _, what := range r.Share {
		if what != "mqueue" && what != "shm" {
			return launch.Namespace{}, fmt.Errorf("cannot share %q; what can be shared is mqueue and shm", what)
		}
	}
	ns := launch.Namespace{Mqueue: !slices.Contains(r.Share, "mqueue"), Shm: !slices.Contains(r.Share, "shm"), Root: r.Root}
	if len(r.Limits) == 0 {
		return ns, nil
	}
	var err error
	ns.Limits, err = ipc.ParseLimits(strings.Join(r.Limits, ","))
	return ns, err
}

// searchPath returns the directories in which programs are looked for, as
// execvp(3) takes them: an empty PATH is the working directory.
func searchPath() string {
	path, set := os.LookupEnv("PATH")
	if !set {
		return "/bin:/usr/bin"
	}
	return cmp.Or(path, ".")
}

// Parse reads the arguments behind "ipcns run" as the command line does, if
// they are of the usual kind. It leaves help, mistakes and whatever is unusual
// to that, which has words for it.
func Parse(args []string) (r Request, ok bool) {
	for i := 0; i < len(args); i++ {
		flag, value, joined := strings.Cut(args[i], "=")
		switch {
		case !strings.HasPrefix(args[i], "-"):
			r.Args = args[i:]
			return r, true
		case args[i] == "--":
			r.Args = args[i+1:]
			return r, len(r.Args) > 0
		case args[i] == "--root":
			r.Root = true
			continue
		case flag != "--share" && flag != "--limit":
			return Request{}, false
		case !joined && i+1 == len(args):
			return Request{}, false
		case !joined:
			i++
			value = args[i]
		}
		if value == "" || strings.ContainsAny(value, "\"\n") {
			return Request{}, false
		}
		if flag == "--share" {
			r.Share = append(r.Share, strings.Split(value, ",")...)
		} else {
			r.Limits = append(r.Limits, strings.Split(value, ",")...)
		}
	}
	return Request{}, false
}
