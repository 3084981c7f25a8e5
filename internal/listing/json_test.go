//go:build linux

package listing_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"github.com/ipcns/ipcns/host"
	"maps"
	"slices"
	"testing"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// nameless is a user and group id that no machine has a name for.
const nameless = 4000000001

// oneOfEach has one object of each kind.
func oneOfEach() *fakeSystem {
	perm := ipc.Perm{Key: -1, UID: 0, GID: nameless, CUID: nameless, CGID: 0, Mode: 0o3604}
	return &fakeSystem{
		ids:      []int{32769},
		queues:   []ipc.MsqidDS{{Perm: perm, Stime: 1, Ctime: 1e9, Cbytes: 2, Qnum: 3, Qbytes: 4, Lspid: 5, Lrpid: 6}},
		segments: []ipc.ShmidDS{{Perm: perm, Segsz: 1 << 60, Dtime: 1, Ctime: 1e9, Cpid: 2, Lpid: 3, Nattch: 4}},
		sets:     []ipc.SemidDS{{Perm: perm, Otime: 1, Ctime: 1e9, Nsems: 2}},
		sems:     []host.Semaphore{{Value: 1, Ncnt: 2, Zcnt: 3, PID: 4}, {}},
		mqueues:  []ipc.MqueueStat{{Name: "/<a>", UID: nameless, GID: 0, Mode: 0o60, Inode: 7, Attr: ipc.MqAttr{Maxmsg: 1, Msgsize: 2, Curmsgs: 3}, Bytes: 4, NotifyPID: 5}},
	}
}

const headJSON = `"key": "0xffffffff",
      "id": 32769,
      "mode": "0604",
      "uid": 0,
      "owner": "root",
      "gid": 4000000001,
      "group": "4000000001",
      "cuid": 4000000001,
      "creator": "4000000001",
      "cgid": 0,
      "creator_group": "root",`

const everythingJSON = `{
  "message_queues": [
    {
      ` + headJSON + `
      "cbytes": 2,
      "qnum": 3,
      "qbytes": 4,
      "lspid": 5,
      "lrpid": 6,
      "stime": "1970-01-01T00:00:01Z",
      "rtime": null,
      "ctime": "2001-09-09T01:46:40Z"
    }
  ],
  "segments": [
    {
      ` + headJSON + `
      "status": [
        "dest",
        "locked"
      ],
      "segsz": 1152921504606846976,
      "nattch": 4,
      "cpid": 2,
      "lpid": 3,
      "atime": null,
      "dtime": "1970-01-01T00:00:01Z",
      "ctime": "2001-09-09T01:46:40Z"
    }
  ],
  "semaphore_sets": [
    {
      ` + headJSON + `
      "nsems": 2,
      "otime": "1970-01-01T00:00:01Z",
      "ctime": "2001-09-09T01:46:40Z"
    }
  ],
  "posix_message_queues": [
    {
      "name": "/<a>",
      "inode": 7,
      "mode": "0060",
      "uid": 4000000001,
      "owner": "4000000001",
      "gid": 0,
      "group": "root",
      "maxmsg": 1,
      "msgsize": 2,
      "curmsgs": 3,
      "bytes": 4,
      "notify_pid": 5
    }
  ]
}
`

const summaryJSON = `{
  "summary": {
    "message_queues": {
      "queues": 1,
      "messages": 7,
      "bytes": 42
    },
    "segments": {
      "segments": 1,
      "pages": 1,
      "resident_pages": 2,
      "swapped_pages": 3,
      "swap_attempts": 4,
      "swap_successes": 5
    },
    "semaphore_sets": {
      "sets": 1,
      "semaphores": 2
    },
    "posix_message_queues": {
      "queues": 1,
      "messages": 3,
      "bytes": 4
    }
  }
}
`

const emptyJSON = `{
  "message_queues": [],
  "segments": [],
  "semaphore_sets": [],
  "posix_message_queues": []
}
`

func TestJSON(t *testing.T) {
	unreadable := &fakeSystem{mqueues: []ipc.MqueueStat{{Name: "/a", Unreadable: true}}}
	mqueues := listing.Selection{Mqueues: true}
	for _, test := range []struct {
		name   string
		system ipc.System
		report listing.Report
		want   string
	}{
		{"everything", oneOfEach(), listing.Report{}, everythingJSON},
		{"everything whatever the view", oneOfEach(), listing.Report{View: listing.Times}, everythingJSON},
		{"empty", &fakeSystem{}, listing.Report{}, emptyJSON},
		{"one table", &fakeSystem{}, listing.Report{Select: listing.Selection{Segments: true}}, "{\n  \"segments\": []\n}\n"},
		{"summary", oneOfEach(), listing.Report{View: listing.Summary}, summaryJSON},
		{"unreadable", unreadable, listing.Report{Select: mqueues, View: listing.PIDs}, `{
  "posix_message_queues": [
    {
      "name": "/a",
      "inode": 0,
      "mode": "0000",
      "uid": 0,
      "owner": "root",
      "gid": 0,
      "group": "root",
      "maxmsg": null,
      "msgsize": null,
      "curmsgs": null,
      "bytes": null,
      "notify_pid": null
    }
  ]
}
`},
		{"summary of unreadable", unreadable, listing.Report{Select: mqueues, View: listing.Summary}, `{
  "summary": {
    "posix_message_queues": {
      "queues": 1,
      "messages": null,
      "bytes": null
    }
  }
}
`},
	} {
		var got bytes.Buffer
		if err := test.report.JSON(&got, test.system); err != nil {
			t.Error(err)
		}
		t.Run(test.name, comparison{want: []byte(test.want), got: got.Bytes()}.check)
	}
}

func TestLimitsJSON(t *testing.T) {
	var text bytes.Buffer
	if err := (listing.Report{View: listing.Limits}).JSON(&text, &fakeSystem{}); err != nil {
		t.Fatal(err)
	}
	var got struct{ Limits map[string]uint64 }
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want, limits := make(map[string]uint64), ipc.DefaultLimits()
	for _, limit := range ipc.AllLimits {
		want[limit.Name] = *limit.Of(&limits)
	}
	if !maps.Equal(got.Limits, want) {
		t.Errorf("got %v, want %v", got.Limits, want)
	}
}

// TestObjectJSON expects the facts of the list, and the semaphores of a set.
func TestObjectJSON(t *testing.T) {
	var list map[string][]map[string]any
	if err := json.Unmarshal([]byte(everythingJSON), &list); err != nil {
		t.Fatal(err)
	}
	sems := []map[string]int{{"num": 0, "value": 1, "ncnt": 2, "zcnt": 3, "pid": 4}, {"num": 1, "value": 0, "ncnt": 0, "zcnt": 0, "pid": 0}}
	list["semaphore_sets"][0]["semaphores"] = sems
	for table, selection := range map[string]listing.Selection{
		"message_queues": {MessageQueues: true},
		"segments":       {Segments: true},
		"semaphore_sets": {SemaphoreSets: true},
	} {
		var text bytes.Buffer
		if err := (listing.Report{Select: selection}).ObjectJSON(&text, oneOfEach(), 32769); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if want := list[table][0]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
}

// TestTranslatedIDs expects translated ids, and their names, wherever ids are.
func TestTranslatedIDs(t *testing.T) {
	names := listing.Names{
		UID: func(id uint32) uint32 { return map[uint32]uint32{0: nameless + 1, nameless: 0}[id] },
		GID: func(id uint32) uint32 { return map[uint32]uint32{0: nameless + 2, nameless: 0}[id] },
	}
	var text bytes.Buffer
	if err := (listing.Report{Names: names}).JSON(&text, oneOfEach()); err != nil {
		t.Fatal(err)
	}
	var tables map[string][]map[string]any
	if err := json.Unmarshal(text.Bytes(), &tables); err != nil {
		t.Fatal(err)
	}
	sysv := map[string]any{
		"uid": 4000000002., "owner": "4000000002", "gid": 0., "group": "root",
		"cuid": 0., "creator": "root", "cgid": 4000000003., "creator_group": "4000000003",
	}
	posix := map[string]any{"uid": 0., "owner": "root", "gid": 4000000003., "group": "4000000003"}
	for table, want := range map[string]map[string]any{
		"message_queues": sysv, "segments": sysv, "semaphore_sets": sysv, "posix_message_queues": posix,
	} {
		for name, value := range want {
			if got := tables[table][0][name]; got != value {
				t.Errorf("%s: %s is %v, want %v", table, name, got, value)
			}
		}
	}

	text.Reset()
	report := listing.Report{Select: listing.Selection{MessageQueues: true}, Names: names}
	if err := report.ObjectText(&text, oneOfEach(), 32769); err != nil {
		t.Fatal(err)
	}
	if want := "uid=4000000002\tgid=0\tcuid=0\tcgid=4000000003\t"; !bytes.Contains(text.Bytes(), []byte(want)) {
		t.Errorf("no %q in %q", want, text.String())
	}
}

// TestRealObjectsInJSON lists what the kernel has, in and outside the list.
func TestRealObjectsInJSON(t *testing.T) {
	var m maker
	var text, one bytes.Buffer
	inNamespace(t, func() error {
		defer m.end()
		m.everySort()
		m.check("list", listing.Report{Select: threeTables}.JSON(&text, kernel.System{}))
		sets := listing.Report{Select: listing.Selection{SemaphoreSets: true}}
		m.check("show", sets.ObjectJSON(&one, kernel.System{}, m.sets[0]))
		return m.err
	})
	var tables map[string][]struct{ ID int }
	if err := json.Unmarshal(text.Bytes(), &tables); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string][]int{"message_queues": m.queues, "segments": m.segments, "semaphore_sets": m.sets} {
		var got []int
		for _, object := range tables[table] {
			got = append(got, object.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: ids %v, want %v", table, got, want)
		}
	}
	var set struct{ Semaphores []host.Semaphore }
	if err := json.Unmarshal(one.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	pid := set.Semaphores[1].PID
	want := []host.Semaphore{{}, {Value: 32767, Zcnt: 1, PID: pid}, {Value: 1, PID: pid}, {Ncnt: 1}}
	if pid == 0 || !slices.Equal(set.Semaphores, want) {
		t.Errorf("semaphores %v, want %v", set.Semaphores, want)
	}
}
