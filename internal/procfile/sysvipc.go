//go:build linux

package procfile

import (
	"bytes"
	"fmt"
	"os"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

// The headers and the rows are those of ipc/msg.c, ipc/sem.c and ipc/shm.c in
// the kernel. A row's columns do not end where the header's do.
const (
	msgHeader = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n"
	msgRow    = "%10d %10d  %4o  %10d %10d %5d %5d %5d %5d %5d %5d %10d %10d %10d\n"

	semHeader = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
	semRow    = "%10d %10d  %4o %10d %5d %5d %5d %5d %10d %10d\n"

	shmHeader = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"
	shmRow    = "%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n"
)

func messageQueues(system ipc.System, _ NextIDs) ([]byte, error) {
	queues, err := host.MessageQueues(system)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString(msgHeader)
	for _, q := range queues {
		p := &q.Perm
		fmt.Fprintf(b, msgRow, p.Key, q.ID, p.Mode, q.Cbytes, q.Qnum, q.Lspid, q.Lrpid,
			p.UID, p.GID, p.CUID, p.CGID, q.Stime, q.Rtime, q.Ctime)
	}
	return b.Bytes(), nil
}

func semaphoreSets(system ipc.System, _ NextIDs) ([]byte, error) {
	sets, err := host.SemaphoreSets(system)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString(semHeader)
	for _, s := range sets {
		p := &s.Perm
		fmt.Fprintf(b, semRow, p.Key, s.ID, p.Mode, s.Nsems, p.UID, p.GID, p.CUID, p.CGID, s.Otime, s.Ctime)
	}
	return b.Bytes(), nil
}

// segments says of every segment that all of it is in memory, as nothing tells
// how much is.
func segments(system ipc.System, _ NextIDs) ([]byte, error) {
	segments, err := host.Segments(system)
	if err != nil {
		return nil, err
	}
	page := uint64(os.Getpagesize())
	b := bytes.NewBufferString(shmHeader)
	for _, s := range segments {
		p := &s.Perm
		resident, swapped := (s.Segsz+page-1)/page*page, 0
		fmt.Fprintf(b, shmRow, p.Key, s.ID, p.Mode, s.Segsz, s.Cpid, s.Lpid, s.Nattch,
			p.UID, p.GID, p.CUID, p.CGID, s.Atime, s.Dtime, s.Ctime, resident, swapped)
	}
	return b.Bytes(), nil
}
