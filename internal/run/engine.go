//go:build linux

package run

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/registry"
	"github.com/ipcns/ipcns/supervise"
)

// The engines, by the words for them: who implements a namespace. Auto is the
// kernel where it lets this user have one, and userspace otherwise.
const (
	engineAuto      = "auto"
	engineKernel    = "kernel"
	engineUserspace = "userspace"
)

// Engines are the words, for the command line.
var Engines = []string{engineAuto, engineKernel, engineUserspace}

func (r Request) engine() string { return cmp.Or(r.Engine, engineAuto) }

// becomeUnnamed turns the process into a program in a namespace that ends with
// it.
func (r Request) becomeUnnamed(spec registry.Spec, p launch.Program) error {
	if _, _, within := server.Within(); within {
		return r.becomeWithin(spec, p)
	}
	if r.Wait && r.engine() != engineUserspace {
		return errors.New("--wait takes --engine userspace, whose server knows when the last process has ended")
	}
	if r.engine() == engineUserspace {
		return r.becomeServed(spec, p)
	}
	if r.engine() == engineAuto {
		if refusal := launch.Refusal(); refusal != nil {
			r.because = refusal.Error()
			return r.becomeServed(spec, p)
		}
	}
	ns := launch.Namespace{Mqueue: !spec.ShareMqueue, Shm: !spec.ShareShm, Limits: spec.Limits, Root: r.Root}
	if r.Verbose {
		ns.Told = "ipcns: the engine is the kernel"
	}
	if r.engine() == engineAuto {
		ns.Otherwise = r.arguments()
	}
	err := launch.InNew(ns, p)
	if r.engine() == engineAuto && launch.Refused(err) {
		r.because = err.Error()
		return r.becomeServed(spec, p)
	}
	return err
}

// arguments are those behind "ipcns launch-failed STEP ERRNO" for the request.
func (r Request) arguments() []string {
	args := []string{"--engine=" + engineUserspace}
	if r.Verbose {
		args = append(args, "--verbose")
	}
	if r.Root {
		args = append(args, "--root")
	}
	for _, share := range r.Share {
		args = append(args, "--share="+share)
	}
	for _, limit := range r.Limits {
		args = append(args, "--limit="+limit)
	}
	return append(append(args, "--"), r.Args...)
}

// Instead does what the process was asked for, with the arguments that [Request]
// has left for that, when the kernel has given it no user namespace.
func Instead(refusal error, args []string) error {
	r, ok := Parse("run", args)
	if !ok {
		return refusal
	}
	r.because = refusal.Error()
	return r.Become()
}

// becomeServed turns the process into a program in a namespace of ours, with a
// server that ends with the last process in it. Where the kernel lets a server look
// at nothing but processes below it, this process stays and waits for the program.
func (r Request) becomeServed(spec registry.Spec, p launch.Program) error {
	if err := r.servable(spec); err != nil {
		return err
	}
	r.tell(engineUserspace)
	if r.Wait || supervise.OnlyBelow() {
		return runBelow(spec.Limits, p, r.Wait)
	}
	conn, _, err := server.Start("")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetLimits(spec.Limits); err != nil {
		return err
	}
	if err := conn.Join(); err != nil {
		return err
	}
	return launch.Become(p)
}

// servable refuses what takes the kernel's namespaces.
func (r Request) servable(spec registry.Spec) error {
	var wanted string
	switch {
	case r.Root:
		wanted = "--root"
	case spec.ShareMqueue:
		wanted = "--share mqueue"
	default:
		return nil
	}
	if r.because != "" {
		return fmt.Errorf("%s; the engine userspace would do, but not with %s", strings.SplitN(r.because, ";", 2)[0], wanted)
	}
	return fmt.Errorf("the engine userspace cannot do %s; leave it out, or use --engine kernel", wanted)
}

// becomeWithin turns the process into a program in a namespace within the one
// that it is served in, by the same server.
func (r Request) becomeWithin(spec registry.Spec, p launch.Program) error {
	switch {
	case r.engine() == engineKernel:
		return errors.New("the kernel's namespaces are not for a program that a server of ipcns serves; leave --engine out")
	case len(spec.Limits) > 0:
		return errors.New("a namespace within another that is not the kernel's has limits that cannot be set; leave --limit out, or do this outside")
	case r.Wait:
		return errors.New("--wait is for the outermost namespace; do this outside")
	}
	if err := r.servable(spec); err != nil {
		return err
	}
	r.because = "within another that is not the kernel's"
	r.tell(engineUserspace)
	if err := server.Unshare(); err != nil {
		return err
	}
	return launch.Become(p)
}

// tell says which engine it is, and why.
func (r Request) tell(engine string) {
	if !r.Verbose {
		return
	}
	because := ""
	if r.because != "" {
		because = ": " + r.because
	}
	fmt.Fprintf(os.Stderr, "ipcns: the engine is %s%s\n", engine, because)
}

// CreateAll makes namespaces that stay, with the engine that was asked for.
func (r Request) CreateAll(names *registry.Registry, fulls []string, spec registry.Spec) (failures []error) {
	if _, _, within := server.Within(); within {
		return []error{fmt.Errorf("cannot create %s: a program in a namespace that is not the kernel's makes none that stay; do this outside", strings.Join(fulls, ", "))}
	}
	if r.engine() == engineUserspace {
		return r.createServed(names, fulls, spec)
	}
	if r.engine() == engineAuto {
		if refusal := launch.Refusal(); refusal != nil {
			r.because = refusal.Error()
			return r.createServed(names, fulls, spec)
		}
	}
	var refused []string
	for i, err := range names.CreateEach(fulls, spec) {
		switch {
		case err == nil:
		case r.engine() == engineAuto && launch.Refused(err):
			r.because = err.Error()
			refused = append(refused, fulls[i])
		default:
			failures = append(failures, err)
		}
	}
	if len(refused) > 0 {
		return append(failures, r.createServed(names, refused, spec)...)
	}
	if r.Verbose && len(failures) == 0 {
		r.tell(engineKernel)
	}
	return failures
}

func (r Request) createServed(names *registry.Registry, fulls []string, spec registry.Spec) []error {
	r.tell(engineUserspace)
	spec.Engine = registry.Userspace
	return failuresAmong(names.CreateEach(fulls, spec))
}

// failuresAmong returns those that are errors.
func failuresAmong(all []error) (failures []error) {
	for _, err := range all {
		if err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}

// checkEngine refuses a namespace that is there and has another engine than was
// asked for.
func (r Request) checkEngine(names *registry.Registry, name string) error {
	if r.engine() == engineAuto && !r.Verbose {
		return nil
	}
	ns, err := names.Find(name)
	if err != nil {
		return err
	}
	engine := cmp.Or(string(ns.Engine), engineKernel)
	if r.engine() != engineAuto && r.engine() != engine {
		return fmt.Errorf("the engine of %s is %s; leave --engine out", name, engine)
	}
	r.tell(engine)
	return nil
}
