//go:build linux

package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

// examine calls f in the target, with a look at it that has its contents and what
// processes do with them.
func examine(cmd *cobra.Command, t *target, f func(system ipc.System, look doctor.Look, ns *survey.Namespace) error) error {
	return t.do(cmd, func(system ipc.System) error {
		s, ns, err := surveyHere()
		if err != nil {
			return err
		}
		if ns.Contents, err = host.ContentsOf(system, true); err != nil {
			return err
		}
		if err := asOutside(cmd, ns.Processes); err != nil {
			return err
		}
		s.Namespaces = []*survey.Namespace{ns}
		return f(system, lookOf(s, func(*survey.Namespace) string { return t.reference }), ns)
	})
}

// asOutside gives processes their users as they are where the command was started.
func asOutside(cmd *cobra.Command, processes []host.Process) error {
	names, err := users(cmd)
	if err != nil || names.UID == nil {
		return err
	}
	for i := range processes {
		processes[i].UID = names.UID(processes[i].UID)
	}
	return nil
}

// surveyHere looks at the processes of the machine, and returns the namespace
// that the thread is in too.
func surveyHere() (*survey.Survey, *survey.Namespace, error) {
	here, err := ipcns.Current()
	if err != nil {
		return nil, nil, err
	}
	defer here.Close()
	s, err := survey.Take(run.Names(), survey.Options{Processes: true})
	if err != nil {
		return nil, nil, err
	}
	pid, number, within := server.Within()
	for _, ns := range s.Namespaces {
		if ns.State != registry.Alive {
			continue
		}
		if within && number == 0 && ns.Server == pid || !within && ns.Inode == here.Inode() {
			return s, ns, nil
		}
	}
	ns := &survey.Namespace{State: registry.Alive, Inode: here.Inode()}
	if within {
		ns.Inode, ns.Members = 0, []int{os.Getpid()}
	}
	return s, ns, nil
}

// examineStale returns what there is of a name whose namespace has ended.
func examineStale(reference string) (look doctor.Look, stale bool) {
	if !isName(reference) {
		return look, false
	}
	names, full, err := resolve(reference)
	if err != nil {
		return look, false // for what is wrong there are words elsewhere
	}
	named, err := names.Find(full)
	if err != nil || named.State != registry.Stale {
		return look, false
	}
	s := &survey.Survey{Namespaces: []*survey.Namespace{{Name: &full, State: named.State}}}
	return lookOf(s, func(*survey.Namespace) string { return reference }), true
}

func lookOf(s *survey.Survey, reference func(*survey.Namespace) string) doctor.Look {
	const proc = host.Proc("/proc")
	return doctor.Look{Survey: s, Reference: reference, There: proc.There, Threads: proc.Threads, ProcessOf: proc.ProcessOf}
}

// examineAll looks at all namespaces of the machine, and returns those that this
// user may not look into as well.
func examineAll() (look doctor.Look, closed []string, err error) {
	s, err := takeWhole(survey.Options{Contents: true, Values: true, Limits: true, Processes: true})
	if err != nil {
		return look, nil, err
	}
	reference, err := references()
	if err != nil {
		return look, nil, err
	}
	for _, ns := range s.Namespaces {
		if ns.State == registry.Alive && ns.Contents == nil {
			closed = append(closed, reference(ns))
		}
	}
	return lookOf(s, reference), closed, nil
}

// references returns a function that returns what names a namespace to commands.
func references() (func(*survey.Namespace) string, error) {
	current, err := run.Names().Current()
	if err != nil {
		return nil, err
	}
	own, err := ipcns.Current()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	inode := own.Inode()
	return func(ns *survey.Namespace) string { return referenceOf(ns, current, inode) }, nil
}

// referenceOf returns what names a namespace to a command of a process that is in
// the namespaces with that name and that inode number.
func referenceOf(ns *survey.Namespace, current string, own uint64) string {
	switch {
	case ns.Inode == own:
		return "self"
	case ns.Name != nil:
		return registry.Shown(current, *ns.Name)
	case ns.Inode == ipcns.InitialInode:
		return "init"
	case len(ns.Members) > 0:
		return fmt.Sprintf("pid:%d", ns.Members[0])
	}
	return fmt.Sprintf("ipc:[%d]", ns.Inode)
}

// closedNote tells of namespaces that could not be looked into.
func closedNote(closed []string, command string) string {
	what := "1 namespace could not be looked into"
	if len(closed) > 1 {
		what = fmt.Sprintf("%d namespaces could not be looked into", len(closed))
	}
	const enough = 5
	shown := strings.Join(closed[:min(enough, len(closed))], ", ")
	if len(closed) > enough {
		shown += ", ..."
	}
	note := fmt.Sprintf("%s: %s; those of your own take a command each, such as \"ipcns %s %s\"", what, shown, command, closed[0])
	if os.Geteuid() != 0 {
		note += ", and root sees more"
	}
	return note
}
