//go:build linux

package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const objectHelp = `OBJECT is a key, in decimal or as 0x2a; ftok:PATH:N, the key that ftok(3) makes
of a path and a project number; or id:N.`

func newMsg() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "msg COMMAND",
		Short: "Work with System V message queues",
		Long:  "Create a message queue, send and receive messages, and remove it.\n\n" + objectHelp,
		Example: `  ipcns msg create 0x2a
  echo hello | ipcns msg send 0x2a --type 5
  ipcns msg recv 0x2a
  ipcns msg rm 0x2a`,
		Args: subcommandRequired,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{newMsgCreate(), newMsgSend(), newMsgRecv(), newMsgRm()} {
		addCommand(cmd, sub)
	}
	return cmd
}

func newMsgCreate() *cobra.Command {
	var t target
	var mode string
	var exclusive bool
	cmd := &cobra.Command{
		Use:   "create KEY [--mode MODE] [--exclusive] [-n NS]",
		Short: "Create a message queue, or find the one that has the key",
		Long: `Create a message queue with the key, unless there is one, and print its id as
id:N, which the other commands take. The key private makes a queue that has
none.

` + objectHelp + "\n\n" + referenceHelp,
		Example: `  ipcns msg create 0x2a
  ipcns msg create ftok:/etc/passwd:1 --mode 0660
  queue=$(ipcns msg create private); echo hello | ipcns msg send $queue`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			bits, err := strconv.ParseUint(mode, 8, 9)
			if err != nil {
				return usage("mode %q is not an octal number up to 0777", mode)
			}
			key, err := parseKey(args[0])
			if err != nil {
				return err
			}
			flags := int(bits) | ipc.Creat
			if exclusive {
				flags |= ipc.Excl
			}
			return t.do(cmd, func(system ipc.System) error {
				id, err := system.Msgget(key, flags)
				if err != nil {
					return queueFailure("create", args[0], err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "id:%d\n", id)
				return err
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().StringVar(&mode, "mode", "0600", "permission bits, in octal; the umask is not applied")
	cmd.Flags().BoolVar(&exclusive, "exclusive", false, "fail if the key has a queue")
	return cmd
}

func newMsgSend() *cobra.Command {
	var t target
	var typ int64
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "send OBJECT [--type N] [--timeout TIME] [-n NS] <TEXT",
		Short: "Send standard input as one message",
		Long: `Read standard input to its end and send it as one message. While the queue is
full, wait for room.

` + objectHelp + "\n\n" + referenceHelp,
		Example: `  echo hello | ipcns msg send 0x2a
  printf hello | ipcns msg send 0x2a --type 5 --timeout 2s`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.do(cmd, func(system ipc.System) error {
				id, err := findQueue(system, args[0])
				if err != nil {
					return err
				}
				text, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("cannot read the message from standard input: %w", err)
				}
				ctx, flags, cancel := timeLimit(cmd, timeout)
				defer cancel()
				if err := system.Msgsnd(ctx, id, typ, text, flags); err != nil {
					return sendFailure(args[0], len(text), err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().Int64Var(&typ, "type", 1, "the message's type `N`, above 0")
	addTimeoutFlag(cmd, &timeout)
	return cmd
}

func newMsgRecv() *cobra.Command {
	var t target
	var typ int64
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "recv OBJECT [--type N] [--timeout TIME] [-n NS]",
		Short: "Receive one message and print it",
		Long: `Take one message out of the queue and print its text as it is; on a terminal,
text that would not print is shown in hexadecimal. While there is no such
message, wait for one.

--type 0 is the first message, N the first of type N, -N the first of the
lowest type up to N.

` + objectHelp + "\n\n" + referenceHelp,
		Example: `  ipcns msg recv 0x2a
  ipcns msg recv id:0 --type 5 --timeout 200ms >message`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.do(cmd, func(system ipc.System) error {
				id, err := findQueue(system, args[0])
				if err != nil {
					return err
				}
				ctx, flags, cancel := timeLimit(cmd, timeout)
				defer cancel()
				text, err := receive(ctx, system, id, typ, flags)
				if err != nil {
					return receiveFailure(args[0], err)
				}
				return writePayload(cmd.OutOrStdout(), text)
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().Int64Var(&typ, "type", 0, "take the message of type `N`")
	addTimeoutFlag(cmd, &timeout)
	return cmd
}

func newMsgRm() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "rm OBJECT [-n NS]",
		Short:   "Remove a message queue and the messages in it",
		Long:    "Remove a message queue and the messages in it. Whoever waits on it gets EIDRM.\n\n" + objectHelp + "\n\n" + referenceHelp,
		Example: "  ipcns msg rm 0x2a\n  ipcns msg rm id:32768 -n pid:4242",
		Args:    oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.do(cmd, func(system ipc.System) error {
				id, err := findQueue(system, args[0])
				if err != nil {
					return err
				}
				if err := system.MsgctlRmid(id); err != nil {
					return queueFailure("remove", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	return cmd
}

func oneObject(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s takes one object, such as 0x2a or id:0; see \"%s --help\"", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func subcommandRequired(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q of %s; see \"%s --help\"", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// parseKey reads a key: a number, ftok:PATH:N or private.
func parseKey(text string) (ipc.Key, error) {
	if text == "private" {
		return ipc.Private, nil
	}
	if rest, ok := strings.CutPrefix(text, "ftok:"); ok {
		return ftok(rest)
	}
	number := text
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		number, base = hex, 16
	}
	// A key is any 32 bits, written with a sign or without.
	if n, err := strconv.ParseUint(number, base, 32); err == nil {
		return ipc.Key(int32(n)), nil
	}
	if n, err := strconv.ParseInt(number, base, 32); err == nil {
		return ipc.Key(n), nil
	}
	return 0, usage("%q is no key; write a number such as 42 or 0x2a, ftok:PATH:N, or private", text)
}

// ftok makes a key of PATH:N as ftok(3) does.
func ftok(text string) (ipc.Key, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return 0, usage("ftok:%s has no project number; write ftok:PATH:N", text)
	}
	project, err := strconv.ParseUint(text[i+1:], 0, 8)
	if err != nil || project == 0 {
		return 0, usage("project number %q is not from 1 to 255", text[i+1:])
	}
	var st unix.Stat_t
	if err := unix.Stat(text[:i], &st); err != nil {
		return 0, fmt.Errorf("cannot make a key of %s: %w", text[:i], err)
	}
	return ipc.Key(int32(uint32(st.Ino)&0xffff | uint32(st.Dev)&0xff<<16 | uint32(project)<<24)), nil
}

// findQueue returns the id of the queue that the command line names.
func findQueue(system ipc.System, object string) (int, error) {
	if rest, ok := strings.CutPrefix(object, "id:"); ok {
		id, err := strconv.Atoi(rest)
		if err != nil || id < 0 {
			return 0, usage("%q is no id; write id:NUMBER", object)
		}
		return id, nil
	}
	key, err := parseKey(object)
	if err != nil {
		return 0, err
	}
	if key == ipc.Private {
		return 0, usage("the key 0 finds no queue; write id:NUMBER")
	}
	id, err := system.Msgget(key, 0)
	if err != nil {
		return 0, queueFailure("find", object, err)
	}
	return id, nil
}

func queueFailure(verb, object string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("cannot %s message queue %s: this namespace has none; make it with \"ipcns msg create %s\"", verb, object, object)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EIDRM):
		return fmt.Errorf("cannot %s message queue %s: this namespace has none; see \"ipcns ipcs -q\"", verb, object)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("cannot %s message queue %s: there are as many as the limit msgmni allows", verb, object)
	}
	return fmt.Errorf("cannot %s message queue %s: %w", verb, object, err)
}

func sendFailure(object string, size int, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("cannot send to message queue %s: it is full", object)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("cannot send %d bytes to message queue %s: more than the limit msgmax, a type below 1, or no such queue; see \"ipcns ipcs -q -l\"", size, object)
	}
	return queueFailure("send to", object, err)
}

func receiveFailure(object string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.ENOMSG) {
		return fmt.Errorf("no message of that type in message queue %s", object)
	}
	return queueFailure("receive from", object, err)
}

// addTimeoutFlag adds a time after which waiting ends; forever by default.
func addTimeoutFlag(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", -1, "wait at most `TIME`, such as 200ms; 0 not at all (default for ever)")
	cmd.Flags().Lookup("timeout").DefValue = "0s" // which help does not show
}

// timeLimit returns the context and the flags of a call that waits as long as
// --timeout says.
func timeLimit(cmd *cobra.Command, timeout time.Duration) (context.Context, int, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	switch {
	case timeout < 0:
		return ctx, 0, func() {}
	case timeout == 0:
		return ctx, ipc.NoWait, func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, 0, cancel
}

// receive takes a message of whatever length out of the queue. One that is
// too long for the buffer stays there, so a longer buffer can follow.
func receive(ctx context.Context, system ipc.System, id int, typ int64, flags int) ([]byte, error) {
	for size := 8192; ; size *= 2 {
		text := make([]byte, size)
		_, n, err := system.Msgrcv(ctx, id, typ, text, flags)
		if !errors.Is(err, unix.E2BIG) {
			return text[:n], err
		}
	}
}

// writePayload prints bytes as they are, but for those that would not print
// on a terminal.
func writePayload(w io.Writer, text []byte) error {
	if terminalWidth() == 0 {
		_, err := w.Write(text)
		return err
	}
	if !printable(text) {
		_, err := io.WriteString(w, hex.Dump(text))
		return err
	}
	_, err := fmt.Fprintln(w, strings.TrimSuffix(string(text), "\n"))
	return err
}

func printable(text []byte) bool {
	for _, r := range string(text) {
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}
