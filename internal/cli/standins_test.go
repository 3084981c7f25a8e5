//go:build linux

package cli_test

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A standIn is what stands in documents for what differs from run to run: all
// that shown finds. Each of them stands for one thing that real matches, and no
// other of the same shell does.
type standIn struct {
	shown string
	real  string
	seen  *regexp.Regexp // finds, as its group, what -update writes one for
	next  string         // makes one
}

// kindsOfStandIns are all there are. Process ids are above [firstPID], so that
// -update knows them.
var kindsOfStandIns = []standIn{
	{ // a process id
		shown: `\b42\d\d\b`, real: `\d+`,
		seen: regexp.MustCompile(`\b(4[2-9]\d\d|[5-7]\d\d\d)\b`), next: "42%02d",
	},
	{ // the inode number of a namespace
		shown: `\b40265321\d\d\b`, real: `40265\d{5}`,
		seen: regexp.MustCompile(`\b(40265\d{5})\b`), next: "40265321%02d",
	},
	{ // the kernel's id of a namespace; one that does not tell shows a "-"
		shown: `\b11407\d\d\b`, real: `\d+|-`,
		seen: regexp.MustCompile(`(?:^(?:\S+ +)?|, id )(\d+)(?: +40265\d{5}\b|, of )`), next: "11407%02d",
	},
	{ // a key that a program has drawn or computed, as ipcs shows it
		shown: `\b0x7700[0-9a-f]{4}\b`, real: `0x[0-9a-f]{8}`,
		seen: regexp.MustCompile(`\b(0x0{0,3}[1-9a-f][0-9a-f]{4,7})\b`), next: "0x7700%04x",
	},
}

// user, time and age stand for whoever runs the tests, for any time, and for how
// long something has lasted, if a document says that in seconds.
const (
	userShown = `\balice\b`
	timeShown = `\b(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} \d{1,2} \d\d:\d\d(?::\d\d(?: \d{4})?)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\b`
	ageShown  = `\b\d+s\b`
)

// shownRE finds what stands for something else; its groups are the kinds.
var shownRE = func() *regexp.Regexp {
	var alternatives []string
	for _, kind := range kindsOfStandIns {
		alternatives = append(alternatives, "("+kind.shown+")")
	}
	return regexp.MustCompile(strings.Join(append(alternatives, userShown, timeShown, ageShown), "|"))
}()

// standIns are those of one shell.
type standIns struct {
	user   string
	realOf []map[string]string // by stand-in, for each kind
}

func newStandIns(t *testing.T) standIns {
	name, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatalf("id -un: %v", err)
	}
	return standIns{strings.TrimSpace(string(name)), emptyMaps()}
}

func emptyMaps() (maps []map[string]string) {
	for range kindsOfStandIns {
		maps = append(maps, map[string]string{})
	}
	return maps
}

// real returns a command with what its stand-ins stand for, as far as that has
// been seen.
func (s *standIns) real(command string) string {
	return shownRE.ReplaceAllStringFunc(command, func(shown string) string {
		if shown == "alice" {
			return s.user
		}
		for _, realOf := range s.realOf {
			if real, known := realOf[shown]; known {
				return real
			}
		}
		return shown
	})
}

// equal reports whether the lines of a document are those seen. If they are,
// it remembers what the stand-ins in them stand for.
func (s *standIns) equal(document, seen []string) bool {
	if len(document) != len(seen) {
		return false
	}
	trial := standIns{user: s.user}
	for _, realOf := range s.realOf {
		trial.realOf = append(trial.realOf, maps.Clone(realOf))
	}
	for i := range document {
		if !trial.equalLine(words(document[i]), words(seen[i])) {
			return false
		}
	}
	*s = trial
	return true
}

// words returns a line with single spaces.
func words(line string) string { return strings.Join(strings.Fields(line), " ") }

func (s *standIns) equalLine(document, seen string) bool {
	var pattern strings.Builder
	end := 0
	found := shownRE.FindAllStringSubmatchIndex(document, -1)
	for _, at := range found {
		pattern.WriteString(regexp.QuoteMeta(document[end:at[0]]))
		end = at[1]
		fmt.Fprintf(&pattern, "(%s)", s.pattern(document[at[0]:at[1]], kindOf(at)))
	}
	pattern.WriteString(regexp.QuoteMeta(document[end:]))
	reals := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(seen)
	if reals == nil {
		return false
	}
	for i, at := range found {
		if kind := kindOf(at); kind >= 0 && !s.stands(kind, document[at[0]:at[1]], reals[i+1]) {
			return false
		}
	}
	return true
}

// kindOf returns the kind of stand-in that shownRE has found, -1 if none.
func kindOf(at []int) int {
	for kind := range kindsOfStandIns {
		if at[2+2*kind] >= 0 {
			return kind
		}
	}
	return -1
}

// pattern matches what that may stand for.
func (s *standIns) pattern(shown string, kind int) string {
	switch {
	case kind >= 0:
		return kindsOfStandIns[kind].real
	case shown == "alice":
		return regexp.QuoteMeta(s.user)
	case strings.HasSuffix(shown, "s"):
		return `\d+[smh]`
	}
	return timeShown
}

// stands remembers what a stand-in stands for, and reports whether it has
// stood for nothing else, and nothing else for that.
func (s *standIns) stands(kind int, shown, real string) bool {
	if real == "-" {
		return true
	}
	for otherShown, otherReal := range s.realOf[kind] {
		if (otherShown == shown) != (otherReal == real) {
			return false
		}
	}
	s.realOf[kind][shown] = real
	return true
}

// shown returns what a document shows for the lines seen.
func (s *standIns) shown(seen []string) (lines []string) {
	user := regexp.MustCompile(`\b` + regexp.QuoteMeta(s.user) + `(?:  +|\b)`)
	for _, line := range seen {
		for kind, k := range kindsOfStandIns {
			line = replaceGroup(k.seen, line, func(real string) string { return s.standInFor(kind, real) })
		}
		line = user.ReplaceAllStringFunc(line, func(cell string) string {
			if cell == s.user {
				return "alice"
			}
			return fmt.Sprintf("%-*s", len(cell), "alice") // the columns stay
		})
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}

// replaceGroup replaces the first group of every match.
func replaceGroup(re *regexp.Regexp, line string, replace func(string) string) string {
	var b strings.Builder
	end := 0
	for _, at := range re.FindAllStringSubmatchIndex(line, -1) {
		b.WriteString(line[end:at[2]] + replace(line[at[2]:at[3]]))
		end = at[3]
	}
	return b.String() + line[end:]
}

// standInFor returns what stands for a thing: a new stand-in, if none does yet.
func (s *standIns) standInFor(kind int, real string) string {
	for shown, other := range s.realOf[kind] {
		if other == real {
			return shown
		}
	}
	for n := 1; ; n++ {
		shown := fmt.Sprintf(kindsOfStandIns[kind].next, n)
		if _, taken := s.realOf[kind][shown]; !taken {
			s.realOf[kind][shown] = real
			return shown
		}
	}
}

func TestStandIns(t *testing.T) {
	for _, test := range []struct {
		document, seen []string
		equal          bool
	}{
		{[]string{"sleep 60"}, []string{"sleep 60"}, true},
		{[]string{"sleep 60"}, []string{"sleep 61"}, false},
		{[]string{"sleep 60"}, nil, false},
		{[]string{"a  b"}, []string{"a b   "}, true},
		{[]string{"a b"}, []string{"ab"}, false},
		{[]string{"pid:4201 4201 4202"}, []string{"pid:17 17 4201"}, true},
		{[]string{"4201", "4201"}, []string{"17", "18"}, false},
		{[]string{"4201", "4202"}, []string{"17", "17"}, false},
		{[]string{"4201"}, []string{"sh"}, false},
		{[]string{"1140701 4026532101 1"}, []string{"77 4026531839 1"}, true},
		{[]string{"1140701 4026532101 1"}, []string{"- 4026531839 1"}, true},
		{[]string{"1140701 4026532101 1"}, []string{"77 12 1"}, false},
		{[]string{"0x77000001 0x0000002a"}, []string{"0x5dbfd729 0x0000002a"}, true},
		{[]string{"0x77000001 0x0000002a"}, []string{"0x5dbfd729 0x0000002b"}, false},
		{[]string{"0x77000001", "0x77000001"}, []string{"0x5dbfd729", "0x5dbfd72a"}, false},
		{[]string{"alice 0"}, []string{"ada 0"}, true},
		{[]string{"alice 0"}, []string{"bob 0"}, false},
		{[]string{"ctime=Mon Nov  3 16:52:17 2026"}, []string{"ctime=Tue Dec 23 01:00:00 2031"}, true},
		{[]string{"ctime=Mon Nov  3 16:52:17 2026"}, []string{"ctime=Not set"}, false},
		{[]string{"gone for 0s"}, []string{"gone for 2m"}, true},
		{[]string{"gone for 0s"}, []string{"gone for 2"}, false},
		{[]string{"created 2026-11-03 16:52:17"}, []string{"created 2031-12-23 01:00:00"}, true},
	} {
		known := standIns{user: "ada", realOf: emptyMaps()}
		if equal := known.equal(test.document, test.seen); equal != test.equal {
			t.Errorf("%q for %q: %v", test.document, test.seen, equal)
		}
	}
}

func TestStandInsShown(t *testing.T) {
	known := standIns{user: "ada", realOf: emptyMaps()}
	seen := []string{
		"NAME       ID       INODE  PROCS  MQ  OWNER   PID  COMMAND",
		"-     1296994  4026532179      2   0  ada       1  sh",
		"web   1291796  4026532181      1   0  ada    4307  sleep 60",
		"ipc:[4026532181], id 1291796, of ada",
		"0x0000002a 0          ada        600",
		"0x009846a6 1          ada        600",
	}
	want := []string{
		"NAME       ID       INODE  PROCS  MQ  OWNER   PID  COMMAND",
		"-     1140701  4026532101      2   0  alice     1  sh",
		"web   1140702  4026532102      1   0  alice  4201  sleep 60",
		"ipc:[4026532102], id 1140702, of alice",
		"0x0000002a 0          alice      600",
		"0x77000001 1          alice      600",
	}
	if shown := known.shown(seen); !slices.Equal(shown, want) {
		t.Errorf("shown as\n%s", text(shown))
	}
	if real := known.real("kill 4201 # not 4202, of alice"); real != "kill 4307 # not 4202, of ada" {
		t.Error(real)
	}
}
