//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

var semaphoreSets = kind{
	command: "sem", noun: "semaphore set", flag: "-s", limits: "semmni or semmns", values: " 1",
	table: listing.Selection{SemaphoreSets: true},
	get: func(system ipc.System, key ipc.Key, flags int) (int, error) {
		return system.Semget(key, 0, flags)
	},
	remove: func(system ipc.System, id int) error {
		return sysv.SemaphoreSetByID(system, id).Remove()
	},
	set: func(system ipc.System, id int, change func(*ipc.PermSet)) error {
		ds, err := sysv.SemaphoreSetByID(system, id).Stat()
		if err != nil {
			return err
		}
		set := ds.Perm.Set()
		change(&set)
		return system.SemctlSet(id, set)
	},
}

func newSem() *cobra.Command {
	k := &semaphoreSets
	return k.group("Work with System V semaphore sets", `  ipcns sem create 0x2a 1 0
  ipcns sem op 0x2a 0:-1 1:+1 --timeout 2s
  ipcns sem get 0x2a
  ipcns sem set 0x2a 0=1
  ipcns sem rm 0x2a`,
		newSemCreate(k), newSemOp(k), newSemGet(k), k.newStat(), newSemSet(k),
		k.newRm("Whoever waits on it gets EIDRM."))
}

func newSemCreate(k *kind) *cobra.Command {
	var t target
	var c creation
	cmd := &cobra.Command{
		Use:   "create KEY VALUE... [--mode MODE] [--exclusive] [-n NS]",
		Short: "Create a semaphore set, or find the one that has the key",
		Long: k.help(`Create a set of as many semaphores as there are values, unless the key has one,
and print its id as id:N, which the other commands take. A set that exists keeps
its values. The key private makes a set that has none.`),
		Example: `  ipcns sem create 0x2a 1              a lock
  ipcns sem create 0x2a 0 10 0
  set=$(ipcns sem create private 1); ipcns sem op $set 0:-1`,
		Args: objectAndMore("a value for each semaphore"),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags, err := c.flags()
			if err != nil {
				return err
			}
			values, err := parseValues(args[1:])
			if err != nil {
				return err
			}
			return create(cmd, &t, k, args[0], func(system ipc.System, key ipc.Key) (int, error) {
				set, err := sysv.CreateSemaphoreSet(context.Background(), system, key, values, flags)
				if err != nil {
					return 0, err
				}
				return set.ID(), nil
			})
		},
	}
	t.addFlag(cmd)
	c.addFlags(cmd, k.noun)
	return cmd
}

func parseValues(texts []string) ([]uint16, error) {
	values := make([]uint16, len(texts))
	for i, text := range texts {
		value, err := parseValue(text)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

func parseValue(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n > ipc.SemMaxValue {
		return 0, wrongUsage("%q is no value of a semaphore, which is 0 to %d", text, ipc.SemMaxValue)
	}
	return uint16(n), nil
}

func newSemOp(k *kind) *cobra.Command {
	var t target
	var limit timeout
	cmd := &cobra.Command{
		Use:   "op OBJECT NUM:OP... [--timeout TIME] [-n NS]",
		Short: "Do operations on semaphores of a set, all at once",
		Long: k.help(`Do operations on semaphores of a set, all of them at once, and wait until that
is possible. NUM is a semaphore's number, the first being 0; OP is +N to add N
to its value, -N to take N away once it is at least N, or 0 to wait until it is
0.`),
		Example: `  ipcns sem op 0x2a 0:-1                    acquire
  ipcns sem op 0x2a 0:+1                    release
  ipcns sem op 0x2a 0:-1 2:+5 --timeout 2s
  ipcns sem op 0x2a 1:0                     wait for zero`,
		Args: objectAndMore("an operation such as 0:-1"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, noWait, cancel := limit.context()
			defer cancel()
			ops, err := parseOps(args[1:], noWait)
			if err != nil {
				return err
			}
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				err = sysv.SemaphoreSetByID(system, id).Op(ctx, ops)
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.EAGAIN) {
					return fmt.Errorf("cannot do that on semaphore set %s: it would have to wait longer; see \"ipcns sem get %s\"", args[0], args[0])
				}
				if err != nil {
					return k.failure("operate on", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	limit.addFlag(cmd)
	return cmd
}

func parseOps(texts []string, noWait bool) ([]ipc.Sembuf, error) {
	ops := make([]ipc.Sembuf, len(texts))
	for i, text := range texts {
		num, op, found := strings.Cut(text, ":")
		n, err := strconv.ParseUint(num, 10, 16)
		if err != nil || !found {
			return nil, wrongUsage("%q is no operation; write NUM:+N, NUM:-N or NUM:0", text)
		}
		o, err := strconv.ParseInt(op, 10, 16)
		if err != nil {
			return nil, wrongUsage("%q is no operation; write NUM:+N, NUM:-N or NUM:0", text)
		}
		ops[i] = ipc.Sembuf{Num: uint16(n), Op: int16(o), Flg: int16(waitFlag(noWait))}
	}
	return ops, nil
}

func newSemGet(k *kind) *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get OBJECT [NUM] [--json] [-n NS]",
		Short: "Show the values of a semaphore set, and who waits",
		Long: k.help(`Show the semaphores of a set: number, value, how many wait for it to grow and
how many for it to be 0, and the process of the last operation. With NUM, print
the value of that semaphore alone.`),
		Example: `  ipcns sem get 0x2a
  ipcns sem get 0x2a 0
  ipcns sem get 0x2a --json | jq '.[] | select(.ncnt > 0)'`,
		Args: func(cmd *cobra.Command, args []string) error {
			return oneObject(cmd, args[:min(len(args), max(1, len(args)-1))])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				if len(args) == 2 {
					return printValue(cmd.OutOrStdout(), system, id, args[0], args[1])
				}
				sems, err := semaphores(system, id)
				if err != nil {
					return k.failure("show", args[0], err)
				}
				if asJSON {
					return listing.WriteJSON(cmd.OutOrStdout(), sems)
				}
				return showSemaphores(cmd.OutOrStdout(), sems)
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A semaphoreRow is what get tells of a semaphore.
type semaphoreRow struct {
	Num   int `json:"num"`
	Value int `json:"value"`
	Ncnt  int `json:"ncnt"`
	Zcnt  int `json:"zcnt"`
	PID   int `json:"pid"`
}

func semaphores(system ipc.System, id int) ([]semaphoreRow, error) {
	ds, err := sysv.SemaphoreSetByID(system, id).Stat()
	if err != nil {
		return nil, err
	}
	sems, err := host.Semaphores(system, id, int(ds.Nsems))
	rows := make([]semaphoreRow, len(sems))
	for num, sem := range sems {
		rows[num] = semaphoreRow{num, sem.Value, sem.Ncnt, sem.Zcnt, sem.PID}
	}
	return rows, err
}

func showSemaphores(w io.Writer, sems []semaphoreRow) error {
	t := table{rightAligned: []bool{true, true, true, true, true}}
	t.add("NUM", "VALUE", "NCNT", "ZCNT", "PID")
	for _, sem := range sems {
		t.add(strconv.Itoa(sem.Num), strconv.Itoa(sem.Value), strconv.Itoa(sem.Ncnt), strconv.Itoa(sem.Zcnt), strconv.Itoa(sem.PID))
	}
	return t.write(w, 0)
}

func printValue(w io.Writer, system ipc.System, id int, object, number string) error {
	num, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return wrongUsage("%q is no semaphore; write its number, the first being 0", number)
	}
	value, err := system.SemctlGetval(id, int(num))
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cannot show semaphore %d of semaphore set %s: there is none; see \"ipcns ipcs -s\"", num, object)
	}
	if err != nil {
		return semaphoreSets.failure("show", object, err)
	}
	_, err = fmt.Fprintln(w, value)
	return err
}

func newSemSet(k *kind) *cobra.Command {
	return k.newSet("[NUM=VALUE...] [mode=MODE] [uid=N] [gid=N]",
		`Set values of semaphores, or the set's permission bits, owner or group. What
processes would give back when they end (SEM_UNDO) of a semaphore is forgotten
when its value is set.`,
		`  ipcns sem set 0x2a 0=1 3=10
  ipcns sem set id:0 mode=0666`,
		func(s settings) (func(system ipc.System, id int) error, error) {
			var sets []func(*sysv.SemaphoreSet) error
			for _, name := range slices.Sorted(maps.Keys(s)) {
				num, err := strconv.ParseUint(name, 10, 16)
				if err != nil {
					continue
				}
				value, err := parseValue(s[name])
				if err != nil {
					return nil, err
				}
				sets = append(sets, func(set *sysv.SemaphoreSet) error { return set.SetValue(int(num), value) })
				delete(s, name)
			}
			return func(system ipc.System, id int) error {
				for _, set := range sets {
					if err := set(sysv.SemaphoreSetByID(system, id)); err != nil {
						return err
					}
				}
				return nil
			}, nil
		})
}
