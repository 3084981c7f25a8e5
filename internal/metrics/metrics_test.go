//go:build linux

package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/metrics"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

func TestMain(m *testing.M) { leak.Main(m) }

var update = flag.Bool("update", false, "make testdata what has been seen")

var formats = map[string]metrics.Format{"text": metrics.Text, "openmetrics": metrics.OpenMetrics}

// exampleLook has namespaces of each kind, and in one of them all there is.
func exampleLook() metrics.Look {
	web, old, shop := "web", "web/old", "shop"
	id, owner, one, none := uint64(4711), uint32(1000), 1, 0
	queues, mqueues := 30, 3
	limits := ipc.DefaultLimits()
	limits.Shmall = 100
	full := &survey.Namespace{
		Name: &web, State: registry.Alive, Engine: "kernel", ID: &id, Inode: 4026532101, Owner: &owner, Members: []int{100, 101},
		Holders:  []host.Holder{{Kind: host.HeldByMount, FD: -1}, {Kind: host.HeldByDescriptor, PID: 7, FD: 3}, {Kind: host.HeldByDescriptor, PID: 8, FD: 3}},
		Counts:   survey.Counts{Queues: &queues, Sets: &one, Segments: &one, Mqueues: &mqueues},
		Contents: &host.Contents{Limits: limits},
		Processes: []host.Process{
			{PID: 100, Attached: []host.Attachment{{Namespace: 4026532101}, {Namespace: 4026532101, ID: 1}}, Waiting: []host.Wait{
				{TID: 100, Namespace: 4026532101, Call: "msgrcv", Since: 1500 * time.Millisecond},
				{TID: 102, Namespace: 4026532101, Call: "msgrcv", Since: 12 * time.Second},
				{TID: 103, Namespace: 1, Call: "msgrcv", Since: time.Hour},
			}},
			{PID: 200, Open: []host.OpenQueue{{Namespace: 4026532101, FD: 3}, {Namespace: 4026532101, FD: 4}, {Namespace: 1, FD: 5}}},
		},
	}
	c := full.Contents
	for i := range queues {
		c.Queues = append(c.Queues, host.MessageQueue{ID: i, MsqidDS: ipc.MsqidDS{Perm: ipc.Perm{Key: ipc.Key(i)}, Cbytes: uint64(i), Qnum: 2, Qbytes: 100}})
	}
	c.Queues[2].Qnum = 90   // messages of 0 bytes fill a queue too
	c.Queues[3].Qbytes = 0  // takes nothing
	c.Queues[29].Qbytes = 1 // lowered when it had more
	c.Sets = []host.SemaphoreSet{{SemidDS: ipc.SemidDS{Nsems: 17}}}
	c.Segments = []host.Segment{{ShmidDS: ipc.ShmidDS{Perm: ipc.Perm{Mode: ipc.ShmDest | 0o600}, Segsz: 4097, Nattch: 3}}}
	c.Mqueues = []ipc.MqueueStat{
		{Name: "/jobs", Attr: ipc.MqAttr{Maxmsg: 10, Curmsgs: 4}},
		{Name: "/\"\\\n\x01\xff{}", Attr: ipc.MqAttr{Maxmsg: 2, Curmsgs: 2}},
		{Name: "/secret", Unreadable: true},
	}
	return metrics.Look{
		Took: 12 * time.Millisecond,
		Survey: &survey.Survey{Taken: time.UnixMilli(1700000000250), Unseen: 5, Namespaces: []*survey.Namespace{
			full,
			{Name: &old, State: registry.Stale, Engine: "kernel", Inode: 4026532102},
			{Name: &shop, State: registry.Alive, Engine: "userspace", Server: 77, Owner: &owner, Members: []int{78}, Counts: survey.Counts{Queues: &one, Sets: &none, Segments: &none, Mqueues: &none}},
			{State: registry.Alive, Engine: "userspace", Server: 79, Contents: &host.Contents{Limits: ipc.DefaultLimits()}, Processes: []host.Process{
				{PID: 80, Attached: []host.Attachment{{}}, Waiting: []host.Wait{{TID: 80, Call: "semop", Since: 3 * time.Second}}},
			}},
			{State: registry.Alive, Engine: "kernel", Inode: 4026532103, Hidden: true},
			{State: registry.Alive, Engine: "kernel", Inode: 4026532104, Members: []int{1}, Contents: &host.Contents{Limits: ipc.DefaultLimits()}},
		}},
	}
}

func written(t *testing.T, look metrics.Look, format metrics.Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := metrics.Write(&b, look, format); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			got := written(t, exampleLook(), format)
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("it is not %s, which -update writes:\n%s", path, got)
			}
			checkGrammar(t, got, format)
		})
	}
}

func TestNoNamespaceAtAll(t *testing.T) {
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			got := written(t, metrics.Look{Survey: &survey.Survey{Taken: time.Unix(1, 0)}}, format)
			checkGrammar(t, got, format)
			if !strings.Contains(got, "\nipcns_namespaces 0\n") {
				t.Error(got)
			}
		})
	}
}

// TestLabelsAreBounded makes queues without end, and every kind of name.
func TestLabelsAreBounded(t *testing.T) {
	look := exampleLook()
	c := look.Survey.Namespaces[0].Contents
	c.Queues, c.Mqueues = nil, nil
	for i := range 10000 {
		c.Queues = append(c.Queues, host.MessageQueue{ID: i, MsqidDS: ipc.MsqidDS{Qbytes: 1, Qnum: uint64(i)}})
		c.Mqueues = append(c.Mqueues, ipc.MqueueStat{Name: fmt.Sprintf("/%c%d", rune(i), i), Attr: ipc.MqAttr{Maxmsg: 10}})
	}
	got := written(t, look, metrics.Text)
	checkGrammar(t, got, metrics.Text)
	for _, family := range []string{"ipcns_message_queue_fullness_ratio", "ipcns_posix_message_queue_fullness_ratio"} {
		if n := strings.Count(got, "\n"+family+"{"); n != metrics.QueuesTold {
			t.Errorf("%d series of %s", n, family)
		}
	}
	if !strings.Contains(got, `id="9999"`) || strings.Contains(got, `id="9979"`) {
		t.Error("those are not the fullest")
	}
}

// TestNamesThatLookAlike has names that would be one if what does not print were
// left out: two samples with the same labels fail a whole scrape.
func TestNamesThatLookAlike(t *testing.T) {
	look := exampleLook()
	c := look.Survey.Namespaces[0].Contents
	c.Mqueues = nil
	for _, name := range []string{"/\x01", "/\x02", "/?", "/\xff", "/\xfe", "/\uFFFD", `/\x01`, `/\`, `/\\`, `/"`, `/\"`, "/\n", `/\n`} {
		c.Mqueues = append(c.Mqueues, ipc.MqueueStat{Name: name, Attr: ipc.MqAttr{Maxmsg: 1}})
	}
	got := written(t, look, metrics.OpenMetrics)
	checkGrammar(t, got, metrics.OpenMetrics)
	if n := strings.Count(got, "\nipcns_posix_message_queue_fullness_ratio{"); n != len(c.Mqueues) {
		t.Errorf("%d series for %d names", n, len(c.Mqueues))
	}
}

var (
	metadataRE = regexp.MustCompile(`^# (HELP|TYPE|UNIT) ([a-z][a-z_]*) (.+)$`)
	sampleRE   = regexp.MustCompile(`^([a-z][a-z_]*)(?:\{(.*)\})? (\+Inf|[0-9]+(?:\.[0-9]+)?)$`)
	labelRE    = regexp.MustCompile(`^([a-z][a-z_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)`)
)

// checkGrammar is stricter than Prometheus: each family has its metadata once
// and before its samples, which are together, and no two samples are the same.
func checkGrammar(t *testing.T, text string, format metrics.Format) {
	t.Helper()
	if format == metrics.OpenMetrics {
		var whole bool
		if text, whole = strings.CutSuffix(text, "# EOF\n"); !whole {
			t.Error("it has no end")
		}
	}
	families, samples := map[string]map[string]string{}, map[string]bool{}
	var current string
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole || strings.Contains(line, "\r") {
			t.Errorf("%q is no line", line)
		}
		if m := metadataRE.FindStringSubmatch(line); m != nil {
			if current = m[2]; m[1] == "HELP" {
				if families[current] != nil {
					t.Errorf("%s is there twice", current)
				}
				families[current] = map[string]string{}
			}
			families[current][m[1]] = m[3]
			continue
		}
		m := sampleRE.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%q is no sample", line)
			continue
		}
		if samples[m[1]+m[2]] {
			t.Errorf("%q: there is one with these labels already", line)
		}
		samples[m[1]+m[2]] = true
		checkSample(t, line, current, m[1], families[current], format)
		checkLabels(t, line, m[2])
	}
}

func checkSample(t *testing.T, line, family, name string, metadata map[string]string, format metrics.Format) {
	t.Helper()
	wantName, wantType := family, "gauge"
	if strings.HasSuffix(name, "_info") && format == metrics.OpenMetrics {
		wantName, wantType = family+"_info", "info"
	}
	if name != wantName || metadata["TYPE"] != wantType {
		t.Errorf("%q is in the family %s, a %s", line, family, metadata["TYPE"])
	}
	unit, hasUnit := metadata["UNIT"]
	if hasUnit && !strings.HasSuffix(family, "_"+unit) {
		t.Errorf("%s has not its unit %q", family, unit)
	}
	wantUnit := regexp.MustCompile(`_(bytes|seconds|ratio)$`).MatchString(family)
	if format == metrics.OpenMetrics && hasUnit != wantUnit {
		t.Errorf("%s has the unit %q", family, unit)
	}
	if !strings.HasSuffix(metadata["HELP"], ".") || strings.ContainsAny(metadata["HELP"], "\\\"") {
		t.Errorf("the help of %s is %q", family, metadata["HELP"])
	}
}

func checkLabels(t *testing.T, line, labels string) {
	t.Helper()
	seen := map[string]bool{}
	for labels != "" {
		m := labelRE.FindStringSubmatch(labels)
		if m == nil || seen[m[1]] {
			t.Errorf("%q: wrong labels from %q on", line, labels)
			return
		}
		for _, r := range m[2] {
			if !strconv.IsPrint(r) {
				t.Errorf("%q has a %U", line, r)
			}
		}
		seen[m[1]] = true
		labels = labels[len(m[0]):]
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool; it is in Debian's prometheus, which is large")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(written(t, exampleLook(), metrics.Text))
	if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestTheExampleHasAllFamilies sees to it that the tests above are about all of
// them.
func TestTheExampleHasAllFamilies(t *testing.T) {
	got := written(t, exampleLook(), metrics.Text)
	for _, family := range metrics.Families() {
		if !regexp.MustCompile(`(?m)^` + family.Name + `[ {]`).MatchString(got) {
			t.Errorf("there is no %s", family.Name)
		}
	}
}

// TestFamiliesAreDocumented compares docs/metrics.md with the families.
func TestFamiliesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(ipcns_[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	var want []string
	for _, family := range metrics.Families() {
		want = append(want, family.Name)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(documented)); !slices.Equal(got, want) {
		t.Errorf("docs/metrics.md has\n%s\nand there are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
