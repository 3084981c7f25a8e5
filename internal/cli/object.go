//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const objectHelp = `OBJECT is a key, in decimal or as 0x2a; ftok:PATH:N, the key that ftok(3) makes
of a path and a project number; or id:N.`

// A kind is what the commands of the three kinds of System V objects have in
// common.
type kind struct {
	command string // of ipcns
	noun    string
	flag    string // of ipcns ipcs
	limits  string // of how many there may be
	values  string // of what the command create takes behind the key
	table   listing.Selection
	get     func(system ipc.System, key ipc.Key, flags int) (id int, err error)
	remove  func(system ipc.System, id int) error
	set     func(system ipc.System, id int, change func(*ipc.PermSet)) error
}

// group returns the command that has the kind's commands below it.
func (k *kind) group(short, examples string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     k.command + " COMMAND",
		Short:   short,
		Long:    short + ".\n\n" + objectHelp,
		Example: examples,
		Args:    subcommandRequired,
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	for _, c := range commands {
		addCommand(cmd, c)
	}
	return cmd
}

// help returns a command's long help.
func (k *kind) help(text string) string { return text + "\n\n" + objectHelp + "\n\n" + referenceHelp }

// newStat is the command stat.
func (k *kind) newStat() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stat OBJECT [-n NS] [--json]",
		Short:   "Show the state of a " + k.noun,
		Long:    k.help("Show the state of a " + k.noun + ", as \"ipcns ipcs " + k.flag + " -i ID\" does."),
		Example: fmt.Sprintf("  ipcns %[1]s stat 0x2a\n  ipcns %[1]s stat id:0 --json", k.command),
		Args:    oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			shown, err := users(cmd)
			if err != nil {
				return err
			}
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				report := listing.Report{Select: k.table, Names: shown}
				if asJSON {
					return report.ObjectJSON(cmd.OutOrStdout(), system, id)
				}
				return report.ObjectText(cmd.OutOrStdout(), system, id)
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// newRm is the command rm.
func (k *kind) newRm(what string) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "rm OBJECT [-n NS]",
		Short:   "Remove a " + k.noun,
		Long:    k.help("Remove a " + k.noun + ". " + what),
		Example: fmt.Sprintf("  ipcns %[1]s rm 0x2a\n  ipcns %[1]s rm id:32768 -n pid:4242", k.command),
		Args:    oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				if err := k.remove(system, id); err != nil {
					return k.failure("remove", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	return cmd
}

// A settings is what the command set is to change: names and values.
type settings map[string]string

// newSet is the command set, for mode, uid and gid, and what more takes away
// from the settings. All of them are read before any is made.
func (k *kind) newSet(usage, help, examples string, more func(s settings) (func(system ipc.System, id int) error, error)) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "set OBJECT " + usage + " [-n NS]",
		Short:   "Change a " + k.noun,
		Long:    k.help(help),
		Example: examples,
		Args:    objectAndMore("what to set, such as mode=0660"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := settings{}
			for _, arg := range args[1:] {
				name, value, found := strings.Cut(arg, "=")
				if !found {
					return wrongUsage("%q is no setting; write NAME=VALUE", arg)
				}
				s[name] = value
			}
			setMore, err := more(s)
			if err != nil {
				return err
			}
			change, err := k.permChange(s)
			if err != nil {
				return err
			}
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				if err := setMore(system, id); err != nil {
					return k.failure("set", args[0], err)
				}
				if len(s) == 0 {
					return nil
				}
				if err := k.set(system, id, change); err != nil {
					return k.failure("set", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	return cmd
}

// permChange returns what makes the settings that every kind has.
func (k *kind) permChange(s settings) (func(*ipc.PermSet), error) {
	var changes []func(*ipc.PermSet)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		base := 10
		if name == "mode" {
			base = 8
		}
		n, err := strconv.ParseUint(s[name], base, 32)
		switch name {
		case "mode":
			changes = append(changes, func(p *ipc.PermSet) { p.Mode = uint32(n) })
		case "uid":
			changes = append(changes, func(p *ipc.PermSet) { p.UID = uint32(n) })
		case "gid":
			changes = append(changes, func(p *ipc.PermSet) { p.GID = uint32(n) })
		default:
			return nil, wrongUsage("a %s has no setting %q", k.noun, name)
		}
		if err != nil || name == "mode" && n > 0o777 {
			return nil, wrongUsage("%s=%s: not a number that it takes", name, s[name])
		}
	}
	return func(p *ipc.PermSet) {
		for _, change := range changes {
			change(p)
		}
	}, nil
}

// do calls f with the object that the command line names, in the target.
func (k *kind) do(cmd *cobra.Command, t *target, object string, f func(system ipc.System, id int) error) error {
	return t.do(cmd, func(system ipc.System) error {
		id, err := k.find(system, object)
		if err != nil {
			return err
		}
		return f(system, id)
	})
}

// find returns the id of the object that the command line names.
func (k *kind) find(system ipc.System, object string) (int, error) {
	if rest, ok := strings.CutPrefix(object, "id:"); ok {
		id, err := strconv.ParseInt(rest, 10, 32)
		if err != nil || id < 0 {
			return 0, wrongUsage("%q is no id; write id:NUMBER", object)
		}
		return int(id), nil
	}
	key, err := parseKey(object)
	if err != nil {
		return 0, err
	}
	if key == ipc.Private {
		return 0, wrongUsage("the key 0 finds no %s; write id:NUMBER", k.noun)
	}
	id, err := k.get(system, key, 0)
	if err != nil {
		return 0, k.failure("find", object, err)
	}
	return id, nil
}

// failure returns err in words for the command line.
func (k *kind) failure(verb, object string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) { // of standard output, whose ENOSPC is no limit
		return err
	}
	what := fmt.Sprintf("cannot %s %s %s", verb, k.noun, object)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s: this namespace has none; make it with \"ipcns %s create %s%s\"", what, k.command, object, k.values)
	case errors.Is(err, unix.EIDRM):
		return fmt.Errorf("%s: it was removed meanwhile", what)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%s: the limit %s is reached; see \"ipcns ipcs %s -l\"", what, k.limits, k.flag)
	}
	var detailed *ipc.Error
	if errors.As(err, &detailed) && detailed.Cause != "" {
		return fmt.Errorf("%s: %s; see \"ipcns ipcs %s\"", what, detailed.Cause, k.flag)
	}
	if verb == "set" && errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: that takes its owner, its creator or CAP_SYS_ADMIN; see \"ipcns ipcs %s\"", what, k.flag)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func subcommandRequired(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUsage("unknown command %q of %s; see \"%s --help\"", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func oneObject(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return takes(cmd, "one object, such as 0x2a or id:0")
	}
	return nil
}

// objectAndMore wants an object and something behind it.
func objectAndMore(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return takes(cmd, "an object and %s", what)
		}
		return nil
	}
}

// parseKey reads a key: a number, ftok:PATH:N or private.
func parseKey(text string) (ipc.Key, error) {
	if text == "private" {
		return ipc.Private, nil
	}
	if rest, ok := strings.CutPrefix(text, "ftok:"); ok {
		return parseFtok(rest)
	}
	number, base := text, 10
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		number, base = hex, 16
	}
	// A key is any 32 bits, written with a sign or without.
	if n, err := strconv.ParseUint(number, base, 32); err == nil {
		return ipc.Key(int32(uint32(n))), nil
	}
	if n, err := strconv.ParseInt(number, base, 32); err == nil {
		return ipc.Key(n), nil
	}
	return 0, wrongUsage("%q is no key; write a number such as 42 or 0x2a, ftok:PATH:N, or private", text)
}

// parseFtok makes a key of PATH:N.
func parseFtok(text string) (ipc.Key, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return 0, wrongUsage("ftok:%s has no project number; write ftok:PATH:N", text)
	}
	project, err := strconv.ParseUint(text[i+1:], 0, 8)
	if err != nil || project == 0 {
		return 0, wrongUsage("project number %q is not from 1 to 255", text[i+1:])
	}
	key, err := sysv.Ftok(text[:i], byte(project))
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return 0, fmt.Errorf("cannot make a key of %s: %w", text[:i], err)
	}
	return key, nil
}

// creation are the flags of the commands create.
type creation struct {
	mode      string
	exclusive bool
}

func (c *creation) addFlags(cmd *cobra.Command, noun string) {
	cmd.Flags().StringVar(&c.mode, "mode", "0600", "permission bits `MODE`, in octal; the umask is not applied")
	cmd.Flags().BoolVar(&c.exclusive, "exclusive", false, "fail if there is such a "+noun+" already")
}

// flags returns them as the get calls take them.
func (c *creation) flags() (int, error) {
	bits, err := strconv.ParseUint(c.mode, 8, 9)
	if err != nil {
		return 0, wrongUsage("mode %q is not an octal number up to 0777", c.mode)
	}
	flags := int(bits) | ipc.Creat
	if c.exclusive {
		flags |= ipc.Excl
	}
	return flags, nil
}

// A timeout is how long a command waits; for ever by default.
type timeout time.Duration

func (t *timeout) addFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar((*time.Duration)(t), "timeout", -1, "wait at most `TIME`, such as 200ms; 0 not at all (default for ever)")
	cmd.Flags().Lookup("timeout").DefValue = "0s" // which help does not show
}

// context returns one that ends with the timeout, and whether there is to be
// no waiting at all.
func (t timeout) context() (ctx context.Context, noWait bool, cancel context.CancelFunc) {
	if t <= 0 {
		return context.Background(), t == 0, func() {}
	}
	ctx, cancel = context.WithTimeout(context.Background(), time.Duration(t))
	return ctx, false, cancel
}
