//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/mqueue"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const nameHelp = "NAME is a slash and up to 255 bytes without another, such as /jobs."

func newMq() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mq COMMAND",
		Short: "Work with POSIX message queues",
		Long:  "Work with POSIX message queues; see mq_overview(7).\n\n" + nameHelp,
		Example: `  ipcns mq create /jobs --maxmsg 8 --msgsize 1k
  echo hello | ipcns mq send /jobs --priority 5
  ipcns mq recv /jobs --timeout 200ms
  ipcns mq rm /jobs`,
		Args: subcommandRequired,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newMqCreate(), newMqSend(), newMqRecv(), newMqStat(), newMqSet(), newMqRm()} {
		addCommand(cmd, c)
	}
	return cmd
}

func mqHelp(text string) string { return text + "\n\n" + nameHelp + "\n\n" + referenceHelp }

func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return takes(cmd, "one name, such as /jobs")
	}
	return nil
}

// mqFailure returns err in words for the command line.
func mqFailure(verb, name string, err error) error {
	what := fmt.Sprintf("cannot %s POSIX message queue %s", verb, name)
	if errors.Is(err, unix.ENOENT) && name == "/" {
		return fmt.Errorf("%s: the name has nothing behind the slash", what)
	}
	if errors.Is(err, unix.ENOENT) && verb == "remove" {
		return fmt.Errorf("%s: this namespace has none; see \"ipcns ipcs -Q\"", what)
	}
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: this namespace has none; make it with \"ipcns mq create %s\"", what, name)
	}
	var detailed *ipc.Error
	if errors.As(err, &detailed) && detailed.Cause != "" {
		return fmt.Errorf("%s: %s", what, detailed.Cause)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func newMqCreate() *cobra.Command {
	var t target
	var c creation
	var maxmsg int
	var msgsize string
	cmd := &cobra.Command{
		Use:   "create NAME [--maxmsg N] [--msgsize SIZE] [--mode MODE] [--exclusive] [-n NS]",
		Short: "Create a POSIX message queue, unless there is one",
		Long: mqHelp(`Create a POSIX message queue, unless there is one of that name. Without sizes it
gets the namespace's defaults, msg_default and msgsize_default. SIZE may end in
k or m.`),
		Example: "  ipcns mq create /jobs\n  ipcns mq create /jobs --maxmsg 8 --msgsize 1k --exclusive",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags, err := c.flags()
			if err != nil {
				return err
			}
			size, err := parseSize(msgsize)
			if err != nil {
				return err
			}
			if (maxmsg > 0) != (size > 0) {
				return wrongUsage("--maxmsg and --msgsize go together")
			}
			access := mqueue.ReadWrite
			if c.exclusive {
				access |= mqueue.Exclusive
			}
			return t.do(cmd, func(system ipc.System) error {
				queue, err := mqueue.Create(system, args[0], access, uint32(flags)&0o777, mqueue.Attributes{Maxmsg: maxmsg, Msgsize: int(size)})
				if err != nil {
					return mqFailure("create", args[0], err)
				}
				return queue.Close()
			})
		},
	}
	t.addFlag(cmd)
	c.addFlags(cmd, "queue")
	cmd.Flags().Lookup("mode").Usage = "permission bits `MODE`, in octal, less the umask"
	cmd.Flags().IntVar(&maxmsg, "maxmsg", 0, "it takes `N` messages")
	cmd.Flags().StringVar(&msgsize, "msgsize", "0", "a message has at most `SIZE` bytes")
	cmd.Flags().Lookup("msgsize").DefValue = ""
	return cmd
}

// withMqueue opens a queue while f uses it.
func withMqueue(cmd *cobra.Command, t *target, name string, access int, verb string, f func(*mqueue.Queue) error) error {
	return t.do(cmd, func(system ipc.System) error {
		queue, err := mqueue.Open(system, name, access)
		if err != nil {
			return mqFailure(verb, name, err)
		}
		return errors.Join(f(queue), queue.Close())
	})
}

func nonblock(noWait bool) int {
	if noWait {
		return mqueue.Nonblock
	}
	return 0
}

func newMqSend() *cobra.Command {
	var t target
	var limit timeout
	var priority uint
	cmd := &cobra.Command{
		Use:   "send NAME [--priority N] [--timeout TIME] [-n NS] <MESSAGE",
		Short: "Send standard input as one message",
		Long: mqHelp(`Read standard input to its end and send it as one message. While the queue is
full, wait for room.`),
		Example: "  echo hello | ipcns mq send /jobs --priority 5",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, noWait, cancel := limit.context()
			defer cancel()
			return withMqueue(cmd, &t, args[0], mqueue.WriteOnly|nonblock(noWait), "send to", func(queue *mqueue.Queue) error {
				message, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("cannot read the message from standard input: %w", err)
				}
				err = queue.Send(ctx, message, priority)
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.EAGAIN) {
					return fmt.Errorf("cannot send to POSIX message queue %s: it is full", args[0])
				}
				if err != nil {
					return mqFailure("send to", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	limit.addFlag(cmd)
	cmd.Flags().UintVar(&priority, "priority", 0, "the message's priority `N`, 0 to 32767")
	return cmd
}

func newMqRecv() *cobra.Command {
	var t target
	var limit timeout
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "recv NAME [--timeout TIME] [--follow] [--json] [-n NS]",
		Short: "Receive a message and print it",
		Long: mqHelp(`Take the first message of the highest priority out of the queue and print it as
it is; on a terminal, what would not print is shown in hexadecimal. While there
is none, wait for one. --json prints {"priority", "bytes", "text"}, or "base64"
for what is not UTF-8, on one line.`),
		Example: "  ipcns mq recv /jobs\n  ipcns mq recv /jobs --follow --json | jq .text",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, noWait, cancel := limit.context()
			cancel()
			return withMqueue(cmd, &t, args[0], mqueue.ReadOnly|nonblock(noWait), "receive from", func(queue *mqueue.Queue) error {
				for {
					message, priority, err := receiveMqueue(queue, limit)
					if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.EAGAIN) {
						return fmt.Errorf("no message in POSIX message queue %s", args[0])
					}
					if err != nil {
						return mqFailure("receive from", args[0], err)
					}
					if err := printMessage(cmd.OutOrStdout(), jsonMessage{Priority: &priority}, message, asJSON); err != nil || !follow {
						return err
					}
				}
			})
		},
	}
	t.addFlag(cmd)
	limit.addFlag(cmd)
	addFollowFlags(cmd, &follow, &asJSON)
	return cmd
}

func receiveMqueue(queue *mqueue.Queue, limit timeout) ([]byte, uint, error) {
	attributes, err := queue.Attributes()
	if err != nil {
		return nil, 0, err
	}
	ctx, _, cancel := limit.context()
	defer cancel()
	buffer := make([]byte, attributes.Msgsize)
	n, priority, err := queue.Receive(ctx, buffer)
	return buffer[:n], priority, err
}

func newMqStat() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stat NAME [--json] [-n NS]",
		Short:   "Show the sizes of a POSIX message queue",
		Long:    mqHelp(`Show how many messages a POSIX message queue takes and holds, and their size.`),
		Example: "  ipcns mq stat /jobs\n  ipcns mq stat /jobs --json",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMqueue(cmd, &t, args[0], mqueue.ReadOnly, "show", func(queue *mqueue.Queue) error {
				attributes, err := queue.Attributes()
				if err != nil {
					return mqFailure("show", args[0], err)
				}
				messages, err := queue.Len()
				if err != nil {
					return mqFailure("show", args[0], err)
				}
				if asJSON {
					return listing.WriteJSON(cmd.OutOrStdout(), struct {
						Name     string `json:"name"`
						Maxmsg   int    `json:"maxmsg"`
						Msgsize  int    `json:"msgsize"`
						Messages int    `json:"messages"`
					}{args[0], attributes.Maxmsg, attributes.Msgsize, messages})
				}
				table := table{rightAligned: []bool{true, true, true, false}}
				table.add("MAXMSG", "MSGSIZE", "MESSAGES", "NAME")
				table.add(strconv.Itoa(attributes.Maxmsg), strconv.Itoa(attributes.Msgsize), strconv.Itoa(messages), oneline.Of(args[0]))
				return table.write(cmd.OutOrStdout(), 0)
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newMqSet() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "set NAME mode=MODE [-n NS]",
		Short: "Change the permission bits of a POSIX message queue",
		Long: mqHelp(`Change the permission bits of a POSIX message queue, in octal. That takes the owner
or root.`),
		Example: "  ipcns mq set /jobs mode=0660",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return takes(cmd, "a name and mode=MODE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.HasPrefix(args[0], "/") {
				return fmt.Errorf("cannot set POSIX message queue %s: the name has no slash in front", args[0])
			}
			text, found := strings.CutPrefix(args[1], "mode=")
			mode, err := strconv.ParseUint(text, 8, 9)
			if !found || err != nil {
				return wrongUsage("%q is no setting; write mode=MODE, in octal up to 0777", args[1])
			}
			return t.do(cmd, func(ipc.System) error {
				err := kernel.System{}.MqChmod(args[0], uint32(mode))
				if errors.Is(err, unix.ENOSYS) {
					return fmt.Errorf("cannot set POSIX message queue %s: queues of the engine userspace keep the mode that they are made with", args[0])
				}
				if err != nil {
					return mqFailure("set", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	return cmd
}

func newMqRm() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "rm NAME [-n NS]",
		Short:   "Remove a POSIX message queue",
		Long:    mqHelp(`Remove the name of a POSIX message queue. The queue ends when everybody has closed it.`),
		Example: "  ipcns mq rm /jobs",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.do(cmd, func(system ipc.System) error {
				if err := mqueue.Unlink(system, args[0]); err != nil {
					return mqFailure("remove", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	return cmd
}
