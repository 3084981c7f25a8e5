//go:build linux

package cli

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"github.com/spf13/cobra"
)

var segments = kind{
	command: "shm", noun: "shared memory segment", flag: "-m", limits: "shmmni or shmall", values: " 64k",
	table: listing.Selection{Segments: true},
	get: func(system ipc.System, key ipc.Key, flags int) (int, error) {
		return system.Shmget(key, 0, flags)
	},
	remove: func(system ipc.System, id int) error {
		return sysv.SegmentByID(system, id).Remove()
	},
	set: func(system ipc.System, id int, change func(*ipc.PermSet)) error {
		ds, err := sysv.SegmentByID(system, id).Stat()
		if err != nil {
			return err
		}
		set := ds.Perm.Set()
		change(&set)
		return system.ShmctlSet(id, set)
	},
}

func newShm() *cobra.Command {
	k := &segments
	return k.group("Work with System V shared memory segments", `  ipcns shm create 0x2a 64k
  echo hello | ipcns shm write 0x2a
  ipcns shm cat 0x2a --length 6
  ipcns shm rm 0x2a`,
		newShmCreate(k), newShmCat(k), newShmWrite(k), k.newStat(), newShmSet(k),
		k.newRm("Its memory is freed when the last process has detached it; its key is free at once."))
}

func newShmCreate(k *kind) *cobra.Command {
	var t target
	var c creation
	cmd := &cobra.Command{
		Use:   "create KEY SIZE [--mode MODE] [--exclusive] [-n NS]",
		Short: "Create a segment, or find the one that has the key",
		Long: k.help(`Create a segment of SIZE bytes, all zeros, unless the key has one, and print its
id as id:N, which the other commands take. SIZE may end in k, m or g for units
of 2^10, 2^20 and 2^30. The key private makes a segment that has none.`),
		Example: `  ipcns shm create 0x2a 64k
  segment=$(ipcns shm create private 1m); ipcns shm write $segment <file`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return takes(cmd, "a key and a size")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			flags, err := c.flags()
			if err != nil {
				return err
			}
			size, err := parseSize(args[1])
			if err != nil {
				return err
			}
			return create(cmd, &t, k, args[0], func(system ipc.System, key ipc.Key) (int, error) {
				segment, err := sysv.CreateSegment(system, key, size, flags)
				if err != nil {
					return 0, err
				}
				return segment.ID(), nil
			})
		},
	}
	t.addFlag(cmd)
	c.addFlags(cmd, k.noun)
	return cmd
}

func parseSize(text string) (uint64, error) {
	size, err := ipc.ParseSize(text)
	if err != nil {
		return 0, wrongUsage("%w", err)
	}
	return size, nil
}

func newShmCat(k *kind) *cobra.Command {
	var t target
	var offset, length string
	cmd := &cobra.Command{
		Use:   "cat OBJECT [--offset N] [--length N] [-n NS]",
		Short: "Print the contents of a segment",
		Long: k.help(`Print the contents of a segment as they are; on a terminal, what would not print
is shown in hexadecimal. N may end in k, m or g.`),
		Example: `  ipcns shm cat 0x2a | hexdump -C | less
  ipcns shm cat id:0 --offset 4k --length 128`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseSize(offset)
			if err != nil {
				return err
			}
			size := uint64(math.MaxInt64)
			if length != "" {
				if size, err = parseSize(length); err != nil {
					return err
				}
			}
			return t.do(cmd, func(system ipc.System) error {
				return k.attached(system, args[0], ipc.ShmRdonly, "read", func(a *sysv.Attachment) error {
					section := io.NewSectionReader(a, int64(min(from, math.MaxInt64)), int64(min(size, math.MaxInt64)))
					return printSection(cmd.OutOrStdout(), section)
				})
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().StringVar(&offset, "offset", "0", "begin at byte `N`")
	cmd.Flags().StringVar(&length, "length", "", "print `N` bytes (default to the end)")
	return cmd
}

func printSection(w io.Writer, section *io.SectionReader) error {
	if terminalWidth() == 0 {
		_, err := io.Copy(w, section)
		return err
	}
	contents, err := io.ReadAll(section)
	if err != nil {
		return err
	}
	return writePayload(w, contents)
}

func newShmWrite(k *kind) *cobra.Command {
	var t target
	var offset string
	cmd := &cobra.Command{
		Use:   "write OBJECT [--offset N] [-n NS] <CONTENTS",
		Short: "Write standard input into a segment",
		Long: k.help(`Write standard input into a segment. What does not fit is an error. N may end in
k, m or g.`),
		Example: `  echo hello | ipcns shm write 0x2a
  ipcns shm write id:0 --offset 4k <page`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseSize(offset)
			if err != nil {
				return err
			}
			return t.do(cmd, func(system ipc.System) error {
				return k.attached(system, args[0], 0, "write", func(a *sysv.Attachment) error {
					_, err := io.Copy(io.NewOffsetWriter(a, int64(min(from, math.MaxInt64))), cmd.InOrStdin())
					return err
				})
			})
		},
	}
	t.addFlag(cmd)
	cmd.Flags().StringVar(&offset, "offset", "0", "begin at byte `N`")
	return cmd
}

// attached attaches a segment while f uses it.
func (k *kind) attached(system ipc.System, object string, flags int, verb string, f func(*sysv.Attachment) error) error {
	id, err := k.find(system, object)
	if err != nil {
		return err
	}
	attachment, err := sysv.SegmentByID(system, id).Attach(flags)
	if err != nil {
		return k.failure(verb, object, err)
	}
	err = errors.Join(f(attachment), attachment.Detach())
	var detailed *ipc.Error
	if errors.As(err, &detailed) {
		return fmt.Errorf("cannot %s %s %s: %s", verb, k.noun, object, detailed.Cause)
	}
	return err
}

func newShmSet(k *kind) *cobra.Command {
	return k.newSet("[mode=MODE] [uid=N] [gid=N]",
		"Change the permission bits, the owner or the group of a segment.",
		"  ipcns shm set 0x2a mode=0660 gid=100",
		func(settings) (func(ipc.System, int) error, error) {
			return func(ipc.System, int) error { return nil }, nil
		})
}
