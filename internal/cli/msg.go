//go:build linux

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

var messageQueues = kind{
	command: "msg", noun: "message queue", flag: "-q", limits: "msgmni",
	table: listing.Selection{MessageQueues: true},
	get:   func(system ipc.System, key ipc.Key, flags int) (int, error) { return system.Msgget(key, flags) },
	remove: func(system ipc.System, id int) error {
		return sysv.MessageQueueByID(system, id).Remove()
	},
	set: func(system ipc.System, id int, change func(*ipc.PermSet)) error {
		ds, err := sysv.MessageQueueByID(system, id).Stat()
		if err != nil {
			return err
		}
		set := ipc.MsqidSet{PermSet: ds.Perm.Set(), Qbytes: ds.Qbytes}
		change(&set.PermSet)
		return system.MsgctlSet(id, set)
	},
}

func newMsg() *cobra.Command {
	k := &messageQueues
	return k.group("Work with System V message queues", `  ipcns msg create 0x2a
  echo hello | ipcns msg send 0x2a --type 5
  ipcns msg peek 0x2a
  ipcns msg recv 0x2a --timeout 200ms
  ipcns msg rm 0x2a`,
		newMsgCreate(k), newMsgSend(k), newMsgRecv(k), newMsgPeek(k), k.newStat(), newMsgSet(k),
		k.newRm("The messages in it are lost, and whoever waits on it gets EIDRM."))
}

func newMsgCreate(k *kind) *cobra.Command {
	var t target
	var c creation
	cmd := &cobra.Command{
		Use:   "create KEY [--mode MODE] [--exclusive] [-n NS]",
		Short: "Create a message queue, or find the one that has the key",
		Long: k.help(`Create a message queue with the key, unless there is one, and print its id as
id:N, which the other commands take. The key private makes a queue that has
none.`),
		Example: `  ipcns msg create 0x2a
  ipcns msg create ftok:/etc/passwd:1 --mode 0660
  queue=$(ipcns msg create private); echo hello | ipcns msg send $queue`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags, err := c.flags()
			if err != nil {
				return err
			}
			return create(cmd, &t, k, args[0], func(system ipc.System, key ipc.Key) (int, error) {
				return system.Msgget(key, flags)
			})
		},
	}
	t.addFlag(cmd)
	c.addFlags(cmd, k.noun)
	return cmd
}

// create makes an object and prints its id.
func create(cmd *cobra.Command, t *target, k *kind, object string, get func(ipc.System, ipc.Key) (int, error)) error {
	key, err := parseKey(object)
	if err != nil {
		return err
	}
	return t.do(cmd, func(system ipc.System) error {
		id, err := get(system, key)
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot create %s %s: there is one already; see \"ipcns ipcs %s\"", k.noun, object, k.flag)
		}
		if err != nil {
			return k.failure("create", object, err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "id:%d\n", id)
		return err
	})
}

func newMsgSend(k *kind) *cobra.Command {
	var t target
	var limit timeout
	var typ int64
	cmd := &cobra.Command{
		Use:   "send OBJECT [--type N] [--timeout TIME] [-n NS] <TEXT",
		Short: "Send standard input as one message",
		Long: k.help(`Read standard input to its end and send it as one message. While the queue is
full, wait for room.`),
		Example: `  echo hello | ipcns msg send 0x2a
  printf hello | ipcns msg send 0x2a --type 5 --timeout 2s`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				text, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("cannot read the message from standard input: %w", err)
				}
				ctx, noWait, cancel := limit.context()
				defer cancel()
				err = sysv.MessageQueueByID(system, id).Send(ctx, typ, text, waitFlag(noWait))
				if errors.Is(err, context.DeadlineExceeded) {
					err = unix.EAGAIN
				}
				if errors.Is(err, unix.EAGAIN) {
					return fmt.Errorf("cannot send to message queue %s: it is full", args[0])
				}
				if err != nil {
					return k.failure("send to", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	limit.addFlag(cmd)
	cmd.Flags().Int64Var(&typ, "type", 1, "the message's type `N`, above 0")
	return cmd
}

func waitFlag(noWait bool) int {
	if noWait {
		return ipc.NoWait
	}
	return 0
}

func newMsgRecv(k *kind) *cobra.Command {
	var t target
	var limit timeout
	var typ int64
	var except, follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "recv OBJECT [--type N [--except]] [--timeout TIME] [--follow] [--json] [-n NS]",
		Short: "Receive a message and print it",
		Long: k.help(`Take a message out of the queue and print its text as it is; on a terminal,
text that would not print is shown in hexadecimal. While there is no such
message, wait for one.

--type 0 is the first message, N the first of type N, -N the first of the
lowest type up to N; --except with N the first of another type.
--json prints {"type", "bytes", "text"}, or "base64" for what is not UTF-8, on
one line.`),
		Example: `  ipcns msg recv 0x2a
  ipcns msg recv id:0 --type 5 --timeout 200ms >message
  ipcns msg recv 0x2a --follow --json | jq .text`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := 0
			if except {
				flags = ipc.MsgExcept
			}
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				for {
					gotType, text, err := receive(sysv.MessageQueueByID(system, id), limit, typ, flags)
					if errors.Is(err, unix.ENOMSG) {
						return fmt.Errorf("no message of that type in message queue %s", args[0])
					}
					if err != nil {
						return k.failure("receive from", args[0], err)
					}
					if err := printMessage(cmd.OutOrStdout(), jsonMessage{Type: &gotType}, text, asJSON); err != nil || !follow {
						return err
					}
				}
			})
		},
	}
	t.addFlag(cmd)
	limit.addFlag(cmd)
	cmd.Flags().Int64Var(&typ, "type", 0, "take the message of type `N`")
	cmd.Flags().BoolVar(&except, "except", false, "take one of any type but that")
	addFollowFlags(cmd, &follow, &asJSON)
	return cmd
}

func addFollowFlags(cmd *cobra.Command, follow, asJSON *bool) {
	cmd.Flags().BoolVarP(follow, "follow", "f", false, "go on receiving")
	cmd.Flags().BoolVar(asJSON, "json", false, "print a line of JSON a message")
}

func printMessage(w io.Writer, m jsonMessage, payload []byte, asJSON bool) error {
	if asJSON {
		return m.write(w, payload)
	}
	return writePayload(w, payload)
}

// receive takes a message of whatever length out of the queue. One that is
// too long for the buffer stays there, so a longer buffer can follow. A
// timeout is ENOMSG.
func receive(q *sysv.MessageQueue, limit timeout, typ int64, flags int) (int64, []byte, error) {
	ctx, noWait, cancel := limit.context()
	defer cancel()
	for size := 8192; ; size *= 2 {
		text := make([]byte, size)
		gotType, n, err := q.Receive(ctx, typ, text, flags|waitFlag(noWait))
		if errors.Is(err, context.DeadlineExceeded) {
			err = unix.ENOMSG
		}
		if !errors.Is(err, unix.E2BIG) {
			return gotType, text[:n], err
		}
	}
}

func newMsgPeek(k *kind) *cobra.Command {
	var t target
	var position int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "peek OBJECT [--position N] [--json] [-n NS]",
		Short: "Show the messages in a queue and leave them there",
		Long: k.help(`Show the messages in a queue, from the first to the last, and leave them there.
--position N prints the text of the one at that position, the first being 0, as
recv would. It takes a kernel with CONFIG_CHECKPOINT_RESTORE.`),
		Example: `  ipcns msg peek 0x2a
  ipcns msg peek 0x2a --position 0 | hexdump -C
  ipcns msg peek 0x2a --json | jq 'select(.type == 5)'`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, &t, args[0], func(system ipc.System, id int) error {
				queue := sysv.MessageQueueByID(system, id)
				show := showMessages
				if asJSON {
					show = writeMessages
				}
				if cmd.Flags().Changed("position") {
					show = func(w io.Writer, q *sysv.MessageQueue) error { return printPosition(w, q, position, asJSON) }
				}
				if err := show(cmd.OutOrStdout(), queue); err != nil {
					return k.failure("peek into", args[0], err)
				}
				return nil
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().IntVar(&position, "position", 0, "print the message at position `N`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON a message")
	return cmd
}

func printPosition(w io.Writer, queue *sysv.MessageQueue, position int, asJSON bool) error {
	at := 0
	for message, err := range queue.Messages() {
		if err != nil {
			return err
		}
		if at == position {
			return printMessage(w, jsonMessage{Position: &at, Type: &message.Type}, message.Text, asJSON)
		}
		at++
	}
	return fmt.Errorf("it has %d messages", at)
}

func writeMessages(w io.Writer, queue *sysv.MessageQueue) error {
	position := 0
	for message, err := range queue.Messages() {
		if err != nil {
			return err
		}
		if err := (jsonMessage{Position: &position, Type: &message.Type}).write(w, message.Text); err != nil {
			return err
		}
		position++
	}
	return nil
}

func showMessages(w io.Writer, queue *sysv.MessageQueue) error {
	t := table{rightAligned: []bool{true, true, true, false}}
	t.add("POSITION", "TYPE", "BYTES", "TEXT")
	for message, err := range queue.Messages() {
		if err != nil {
			return err
		}
		t.add(strconv.Itoa(len(t.rows)-1), strconv.FormatInt(message.Type, 10), strconv.Itoa(len(message.Text)), glance(message.Text))
	}
	return t.write(w, terminalWidth())
}

// glance returns the beginning of a message on a line.
func glance(text []byte) string {
	const enough = 60
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) > enough {
		return oneline.Of(string(text[:enough])) + "..."
	}
	return oneline.Of(string(text))
}

func newMsgSet(k *kind) *cobra.Command {
	return k.newSet("[qbytes=N] [mode=MODE] [uid=N] [gid=N]",
		`Change how many bytes a message queue takes, its permission bits, its owner or
its group. That takes the owner, the creator or root; more bytes than the limit
msgmnb take CAP_SYS_RESOURCE.`,
		`  ipcns msg set 0x2a mode=0660 gid=100
  ipcns msg set 0x2a qbytes=4096`,
		func(s settings) (func(system ipc.System, id int) error, error) {
			value, found := s["qbytes"]
			if !found {
				return func(ipc.System, int) error { return nil }, nil
			}
			delete(s, "qbytes")
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, wrongUsage("qbytes=%s: not a number that it takes", value)
			}
			return func(system ipc.System, id int) error {
				return sysv.MessageQueueByID(system, id).SetQbytes(n)
			}, nil
		})
}
