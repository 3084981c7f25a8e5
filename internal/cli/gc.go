//go:build linux

package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newGc() *cobra.Command {
	var c collection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gc [NS] [--older TIME] [--keyed] [--dry-run] [--json]",
		Short: "Remove objects that nobody uses any more",
		Long: `Remove the orphans of a namespace, that of this process if none is given, and say
of each what has made it one.

` + doctor.OrphanRule + `

Orphans that somebody has used or changed within the last hour stay, or within the
time of --older. An orphan with a key stays too, since a program that is started
again would find it, unless --keyed is given. POSIX message queues stay: the kernel
does not tell who has used them.

Each orphan is looked at again right before it is removed. A process that has been
told an id, but has not used it, is not seen: --older is the time that it has.

The machine's initial namespace is gc's only if it is named as init.

` + referenceHelp,
		Example: `  ipcns gc --dry-run
  ipcns gc web --older 10m
  sudo ipcns gc init --older 24h --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return takes(cmd, "one namespace")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.older < 0 {
				return wrongUsage("--older takes a time such as 10m, or 0s for all")
			}
			t := target{"self"}
			if len(args) > 0 {
				t.reference = args[0]
			}
			return examine(cmd, &t, func(system ipc.System, look doctor.Look, ns *survey.Namespace) error {
				if err := mayCollect(t.reference); err != nil {
					return err
				}
				shown, err := users(cmd)
				if err != nil {
					return err
				}
				failures := c.collect(system, look, ns)
				if asJSON {
					err = listing.WriteJSON(cmd.OutOrStdout(), c.facts())
				} else {
					err = c.write(cmd.OutOrStdout(), &shown)
				}
				return errors.Join(err, several(failures))
			})
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().DurationVar(&c.older, "older", time.Hour, "leave what was used within the last `TIME`, such as 10m")
	cmd.Flags().BoolVar(&c.keyed, "keyed", false, "remove orphans that have a key too")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "say what would be removed, and leave it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// mayCollect refuses the machine's initial namespace, in which this thread is,
// unless it was named.
func mayCollect(reference string) error {
	if _, _, within := server.Within(); within || reference == "init" {
		return nil
	}
	here, err := ipcns.Current()
	if err != nil {
		return err
	}
	defer here.Close()
	if here.Initial() {
		return wrongUsage("%s is the machine's initial namespace, in which every program may have its objects; if that is meant, write \"ipcns gc init\"", reference)
	}
	return nil
}

// A collection is what gc is to remove, and what it has.
type collection struct {
	older  time.Duration
	keyed  bool
	dryRun bool

	removed []doctor.Orphan
}

// wants reports whether an orphan is to be removed.
func (c *collection) wants(o doctor.Orphan) bool {
	return o.Untouched >= c.older && o.Known == "" && (c.keyed || o.Perm.Key == ipc.Private)
}

// collect removes the orphans.
func (c *collection) collect(system ipc.System, look doctor.Look, ns *survey.Namespace) (failures []error) {
	for _, orphan := range look.Orphans(ns) {
		if !c.wants(orphan) {
			continue
		}
		if !c.dryRun {
			still, err := c.remove(system, &look, &ns, orphan)
			if err != nil {
				failures = append(failures, fmt.Errorf("cannot remove %s: %w", orphan.Object(), err))
			}
			if err != nil || !still {
				continue
			}
		}
		c.removed = append(c.removed, orphan)
	}
	return failures
}

// remove removes an orphan, if it still is one.
func (c *collection) remove(system ipc.System, look *doctor.Look, ns **survey.Namespace, orphan doctor.Orphan) (still bool, err error) {
	const recent = time.Second
	if time.Since(look.Taken) > recent { // somebody may have come to wait for it
		if look.Survey, *ns, err = surveyHere(); err != nil {
			return false, err
		}
	}
	now := **ns
	if now.Contents, err = again(system, orphan); err != nil || now.Contents == nil {
		return false, err
	}
	if orphans := look.Orphans(&now); len(orphans) == 0 || !c.wants(orphans[0]) || changed(orphan, orphans[0]) {
		return false, nil
	}
	remove := map[string]func(int) error{"queue": system.MsgctlRmid, "sem": system.SemctlRmid, "shm": system.ShmctlRmid}[orphan.Kind]
	return true, remove(orphan.ID)
}

// changed reports whether somebody has used or changed an orphan between two looks.
func changed(before, now doctor.Orphan) bool {
	before.Untouched, now.Untouched = 0, 0
	return before != now
}

// again reads one object, whose id stands for its index. Nil: another has got that
// meanwhile, or none.
func again(system ipc.System, orphan doctor.Orphan) (*host.Contents, error) {
	contents, id := &host.Contents{}, -1
	var err error
	switch orphan.Kind {
	case "queue":
		var ds ipc.MsqidDS
		id, ds, err = system.MsgStatAny(orphan.ID)
		contents.Queues = []host.MessageQueue{{ID: id, MsqidDS: ds}}
	case "sem":
		var ds ipc.SemidDS
		id, ds, err = system.SemStatAny(orphan.ID)
		contents.Sets = []host.SemaphoreSet{{ID: id, SemidDS: ds}}
		if sems, err := host.Semaphores(system, id, int(ds.Nsems)); err == nil {
			contents.Values = map[int][]host.Semaphore{id: sems}
		}
	case "shm":
		var ds ipc.ShmidDS
		id, ds, err = system.ShmStatAny(orphan.ID)
		contents.Segments = []host.Segment{{ID: id, ShmidDS: ds}}
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIDRM) || err == nil && id != orphan.ID {
		return nil, nil
	}
	return contents, err
}

func (c *collection) write(w io.Writer, names *listing.Names) error {
	verb := "removed"
	if c.dryRun {
		verb = "would remove"
	}
	for _, o := range c.removed {
		owner, _ := names.Owner(o.Perm)
		key := ""
		if o.Perm.Key != ipc.Private {
			key = ", key " + o.Perm.Key.String()
		}
		if _, err := fmt.Fprintf(w, "%s %s of %s (%s%s): %s, untouched for %s\n", verb, o.Object(), owner, o.What, key, o.Why, age.Of(o.Untouched)); err != nil {
			return err
		}
	}
	return nil
}

// A removedFact is what gc tells in JSON.
type removedFact struct {
	Object    string `json:"object"`
	Key       string `json:"key"`
	UID       uint32 `json:"uid"`
	What      string `json:"what"`
	Why       string `json:"why"`
	Untouched int64  `json:"untouched_seconds"`
}

func (c *collection) facts() any {
	facts := []removedFact{}
	for _, o := range c.removed {
		facts = append(facts, removedFact{o.Object(), o.Perm.Key.String(), o.Perm.UID, o.What, o.Why, int64(o.Untouched / time.Second)})
	}
	return struct {
		DryRun  bool          `json:"dry_run"`
		Removed []removedFact `json:"removed"`
	}{c.dryRun, facts}
}
