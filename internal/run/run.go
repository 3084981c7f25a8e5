//go:build linux

// Package run is what "ipcns run" and "ipcns exec" are asked for and do. It
// needs little, so that it can be done before the rest of the program is
// initialised; see package early.
package run

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

// A Request is what the command line asks for: a program in a namespace that is
// new, or kept under a name, or both.
type Request struct {
	Name   string   // of the namespace, as the user calls it; none if empty
	Exists bool     // the name is to be there
	Share  []string // what stays the host's: mqueue, shm
	Limits []string // NAME=VALUE
	Labels []string // KEY=VALUE
	Root   bool
	Args   []string // the program and its arguments

	Engine  string // auto, kernel or userspace; auto if empty
	Verbose bool   // say which engine it is, and why
	Wait    bool   // until the last process of the namespace has ended
	because string // why it is not the kernel
}

// The failures of requests without a program.
var (
	errNoProgram      = errors.New(`no program to run; write "ipcns run -- CMD [ARG...]"`)
	errNoProgramNamed = errors.New(`no program to run; write "ipcns exec NAME -- CMD [ARG...]"`)
)

// Become turns the process into the program. It returns only if that failed.
// Nothing has been changed if the request is wrong or there is no such
// program.
func (r Request) Become() error {
	switch {
	case len(r.Args) == 0 && r.Exists:
		return errNoProgramNamed
	case len(r.Args) == 0:
		return errNoProgram
	}
	spec, err := r.Spec()
	if err != nil {
		return err
	}
	path, err := launch.Find(r.Args[0], searchPath())
	if err != nil {
		return err
	}
	if r.Name != "" || r.Exists {
		return r.becomeNamed(spec, path)
	}
	if len(r.Labels) > 0 {
		return errors.New("labels are for a namespace that stays; use --name NAME too")
	}
	return r.becomeUnnamed(spec, launch.Program{Path: path, Args: r.Args, Env: os.Environ()})
}

func (r Request) becomeNamed(spec registry.Spec, path string) error {
	names := Names()
	name, err := names.Resolve(r.Name)
	if err != nil {
		return err
	}
	if r.Wait {
		return errors.New("--wait is for a namespace without a name; use \"ipcns wait\" for one that has one")
	}
	if !r.Exists {
		if err := r.ensure(names, name, spec); err != nil {
			return err
		}
	}
	if err := r.checkEngine(names, name); err != nil {
		return err
	}
	err = names.Become(name, path, r.Args, os.Environ(), r.Root)
	if registry.Missing(err) {
		return fmt.Errorf("cannot run %s: %w", r.Args[0], err)
	}
	return err
}

// Names returns the names of the user, and says so when it has to wait for them.
func Names() *registry.Registry {
	names := registry.Open()
	names.Waiting = func(pid int) {
		fmt.Fprintf(os.Stderr, "ipcns: waiting for another ipcns to finish (process %d)\n", pid)
	}
	return names
}

// ensure makes the namespace, or changes one that is there to what is asked.
func (r Request) ensure(names *registry.Registry, name string, spec registry.Spec) error {
	ns, err := names.Find(name)
	if registry.Missing(err) {
		err = errors.Join(r.CreateAll(names, []string{name}, spec)...)
		if !registry.Exists(err) {
			return err
		}
		ns, err = names.Find(name) // another process was faster
	}
	if err != nil || ns.State != registry.Alive {
		return err
	}
	if len(r.Share) > 0 && !slices.Equal(ns.Share, spec.Sharing()) {
		return fmt.Errorf("cannot change what %s shares, since it exists; leave --share out, or remove it first", name)
	}
	if len(r.Labels) > 0 {
		return fmt.Errorf("cannot change the labels of %s, since it exists; leave --label out, or remove it first", name)
	}
	if len(r.Limits) == 0 {
		return nil
	}
	return setLimits(name, r.Limits)
}

// setLimits changes the limits of a namespace in a process of its own, which
// may have to enter a user namespace.
func setLimits(name string, limits []string) error {
	set := exec.Command("/proc/self/exe", append([]string{"limits", "/" + name}, limits...)...)
	set.Args[0] = "ipcns"
	_, err := set.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		err = errors.New(strings.TrimPrefix(lines[len(lines)-1], "ipcns: "))
	}
	if err != nil {
		return fmt.Errorf("cannot set the limits of %s: %w", name, err)
	}
	return nil
}

// Spec returns what is asked of a namespace, apart from the program.
func (r Request) Spec() (spec registry.Spec, err error) {
	switch r.Engine {
	case "", engineAuto, engineKernel, engineUserspace:
	default:
		return spec, fmt.Errorf("unknown engine %q; the engines are auto, kernel and userspace", r.Engine)
	}
	for _, what := range r.Share {
		switch what {
		case "mqueue":
			spec.ShareMqueue = true
		case "shm":
			spec.ShareShm = true
		default:
			return spec, fmt.Errorf("cannot share %q; what can be shared is mqueue and shm", what)
		}
	}
	for _, label := range r.Labels {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return spec, fmt.Errorf("%q is no label; write KEY=VALUE", label)
		}
		if spec.Labels == nil {
			spec.Labels = map[string]string{}
		}
		spec.Labels[key] = value
	}
	if len(r.Limits) > 0 {
		spec.Limits, err = ipc.ParseLimits(strings.Join(r.Limits, ","))
	}
	return spec, err
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

// Parse reads the arguments behind "ipcns run" or "ipcns exec" as the command
// line does, if they are of the usual kind. It leaves help, mistakes and
// whatever is unusual to that, which has words for it.
func Parse(command string, args []string) (r Request, ok bool) {
	switch command {
	case "run":
		return parse(args, Request{}, map[string]func(*Request, string){
			"--name":   func(r *Request, value string) { r.Name = value },
			"--share":  func(r *Request, value string) { r.Share = append(r.Share, strings.Split(value, ",")...) },
			"--limit":  func(r *Request, value string) { r.Limits = append(r.Limits, strings.Split(value, ",")...) },
			"--label":  func(r *Request, value string) { r.Labels = append(r.Labels, value) },
			"--engine": func(r *Request, value string) { r.Engine = value },
		})
	case "exec":
		r, ok := parse(args, Request{Exists: true}, nil)
		if !ok {
			return r, false
		}
		r.Name, r.Args = r.Args[0], r.Args[1:]
		if len(r.Args) > 0 && r.Args[0] == "--" {
			r.Args = r.Args[1:]
		}
		return r, len(r.Args) > 0 && registry.Check(r.Name) == nil
	}
	return r, false
}

func parse(args []string, r Request, flags map[string]func(*Request, string)) (Request, bool) {
	for i := 0; i < len(args); i++ {
		flag, value, joined := strings.Cut(args[i], "=")
		set := flags[flag]
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
		case args[i] == "-v", args[i] == "--verbose":
			r.Verbose = true
			continue
		case set == nil:
			return r, false
		case !joined && i+1 == len(args):
			return r, false
		case !joined:
			i++
			value = args[i]
		}
		if value == "" || strings.ContainsAny(value, "\"\n") {
			return r, false
		}
		set(&r, value)
	}
	return r, false
}
