//go:build linux

package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/listing"
)

func TestMain(m *testing.M) { leak.Main(m) }

var update = flag.Bool("update", false, "write the screens that come out into testdata")

// TestScreens does what the lines of testdata/*.txt say that begin with a $, and
// compares the screen after each with what follows there.
func TestScreens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			u := newUser(t)
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "#") {
					got.WriteString(line)
				}
				if command, is := strings.CutPrefix(line, "$ "); is {
					u.do(strings.TrimSpace(command))
					got.WriteString(line + u.screen())
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
		})
	}
}

// A user is who sits before the screen.
type user struct {
	t        *testing.T
	m        *model
	looks    int
	asked    question
	webID    uint64
	failure  error
	cost     time.Duration
	finished bool
}

func newUser(t *testing.T) *user {
	u := &user{t: t, webID: 1}
	u.m = newModel(u.look, listing.Names{}, time.Second, "")
	u.run(u.m.Init())
	return u
}

func (u *user) look(q question) (*Look, error) {
	u.asked = q
	if u.failure != nil {
		return nil, u.failure
	}
	u.looks++
	look := machineAt(u.looks-1, u.webID)
	look.Cost = u.cost
	return look, nil
}

// run runs a command, unless it is to wait.
func (u *user) run(cmd tea.Cmd) {
	if cmd == nil || !u.m.asking {
		return
	}
	u.update(cmd())
}

func (u *user) update(msg tea.Msg) {
	_, cmd := u.m.Update(msg)
	if key, is := msg.(tea.KeyPressMsg); is && (key.Text == "q" || key.Mod == tea.ModCtrl && key.Code == 'c') && cmd != nil {
		_, u.finished = cmd().(tea.QuitMsg)
		return
	}
	u.run(cmd)
}

var keys = map[string]tea.KeyPressMsg{
	"Enter": {Code: tea.KeyEnter}, "Esc": {Code: tea.KeyEscape}, "Tab": {Code: tea.KeyTab}, "Space": {Code: tea.KeySpace, Text: " "}, "Backspace": {Code: tea.KeyBackspace},
	"Up": {Code: tea.KeyUp}, "Down": {Code: tea.KeyDown}, "PgDn": {Code: tea.KeyPgDown}, "PgUp": {Code: tea.KeyPgUp}, "Home": {Code: tea.KeyHome}, "End": {Code: tea.KeyEnd},
	"Ctrl-C": {Code: 'c', Mod: tea.ModCtrl}, "Ctrl-U": {Code: 'u', Mod: tea.ModCtrl},
}

// do does what a line says.
func (u *user) do(line string) {
	for command := range strings.SplitSeq(line, ", ") {
		verb, rest, _ := strings.Cut(command, " ")
		switch verb {
		case "size":
			var width, height int
			if _, err := fmt.Sscanf(rest, "%dx%d", &width, &height); err != nil {
				u.t.Fatalf("%s: %v", command, err)
			}
			u.update(tea.WindowSizeMsg{Width: width, Height: height})
		case "press":
			for key := range strings.FieldsSeq(rest) {
				if named, ok := keys[key]; ok {
					u.update(named)
					continue
				}
				for _, r := range key {
					u.update(tea.KeyPressMsg{Code: r, Text: string(r)})
				}
			}
		case "wait":
			u.update(tickMsg{u.m.ticks})
		case "web":
			u.webID = map[string]uint64{"ends": 0, "there": 1, "another": 2}[rest]
		case "cost":
			var err error
			if u.cost, err = time.ParseDuration(rest); err != nil {
				u.t.Fatal(err)
			}
		case "looks": // fail, if that follows
			u.failure = nil
			if rest == "fail" {
				u.failure = errors.New("cannot list processes:\x1b no")
			}
		default:
			u.t.Fatalf("unknown: %s", command)
		}
	}
}

var attributes = regexp.MustCompile("\x1b\\[[0-9]*m")

// screen is what is on the screen, with what is empty cut short.
func (u *user) screen() string {
	if u.finished {
		return "(ended)\n"
	}
	lines := strings.Split(u.m.View().Content, "\n")
	if len(lines) != u.m.height {
		u.t.Errorf("the screen has %d lines of %d", len(lines), u.m.height)
	}
	var b strings.Builder
	empty := 0
	for _, line := range lines {
		line = attributes.ReplaceAllString(line, "")
		if utf8.RuneCountInString(line) > u.m.width {
			u.t.Errorf("wider than %d: %q", u.m.width, line)
		}
		if line = strings.TrimRight(line, " "); line == "" {
			empty++
			continue
		}
		if empty > 0 {
			fmt.Fprintf(&b, "(%d empty)\n", empty)
			empty = 0
		}
		b.WriteString(line + "\n")
	}
	if empty > 0 {
		fmt.Fprintf(&b, "(%d empty)\n", empty)
	}
	return b.String()
}

func TestOnlyWhatIsOnTheScreenIsLookedAt(t *testing.T) {
	u := newUser(t)
	u.do("size 80x7, press End, wait")
	if got := u.asked.screen; len(got) != 3 || u.asked.namespace != "" || u.asked.processes {
		t.Errorf("asked for %+v", u.asked)
	}
	u.do("press Home Enter")
	if u.asked.namespace != "web" || u.asked.processes {
		t.Errorf("in web, asked for %+v", u.asked)
	}
	u.do("press Tab")
	if u.asked.namespace != "web" || !u.asked.processes || u.asked.search {
		t.Errorf("for its processes, asked for %+v", u.asked)
	}
	u.do("press Space")
	if !u.asked.search {
		t.Error("Space did not search")
	}
	u.do("wait")
	if u.asked.search {
		t.Error("it searches again and again")
	}
}

func TestAPausedModelDoesNotLook(t *testing.T) {
	u := newUser(t)
	u.do("size 80x24, press p")
	looks := u.looks
	u.do("wait, wait")
	if u.looks != looks {
		t.Errorf("%d looks while paused", u.looks-looks)
	}
	u.do("press p, wait")
	if u.looks != looks+2 {
		t.Errorf("%d looks after the pause", u.looks-looks)
	}
}

// TestLooksThatCostMuchAreRarer has looks that each take so long of a processor.
func TestLooksThatCostMuchAreRarer(t *testing.T) {
	u := newUser(t)
	u.do("size 80x24, wait")
	if got := u.m.pause(); got != time.Second {
		t.Errorf("a pause of %v after a look that costs nothing", got)
	}
	u.do("cost 100ms, wait")
	if got := u.m.pause(); got < 5*time.Second {
		t.Errorf("a pause of %v, which is more than 2 %% of a core", got)
	}
	u.do("cost 0s, wait")
	if got := u.m.pause(); got != time.Second {
		t.Errorf("a pause of %v after it", got)
	}
}

// TestALookUnderWayIsTheOnlyOne opens a namespace while a look takes long.
func TestALookUnderWayIsTheOnlyOne(t *testing.T) {
	u := newUser(t)
	u.do("size 80x24")
	_, slow := u.m.Update(tickMsg{u.m.ticks})
	if _, second := u.m.Update(keys["Enter"]); second != nil || !u.m.asking {
		t.Fatal("there is a second look, or none")
	}
	late := slow()
	_, next := u.m.Update(late)
	if !u.m.asking || next == nil {
		t.Fatal("nothing looks into the namespace")
	}
	u.run(next)
	if u.asked.namespace != "web" {
		t.Errorf("asked for %+v", u.asked)
	}
}
