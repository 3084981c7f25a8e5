//go:build linux

package cli_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
)

// TestDocuments runs what README.md and docs/*.md show, and compares.
//
// In a block marked console, a line that begins with "$ " is a command, lines
// that begin with "> ", or are ">", continue it, and the rest is what it prints,
// errors too. The commands of a section, which a heading "## " begins, are typed
// into one shell, in a directory and namespaces of their own: process 1 is the
// shell, there is no network, and no namespace has a name. A command that fails
// must say so: its exit status is not shown. What jobs in the background print
// comes where it is printed when each of them has come to rest.
//
// What differs from run to run has a [standIn]. A run of spaces is as good as
// any other: columns are as wide as what is in them.
//
// A comment before a block says what that block takes:
//
//	<!-- as: root -->                      and not an ordinary user
//	<!-- as: user -->                      and not root
//	<!-- needs: initdb (postgresql) -->    this program, from that Debian package
//
// A program with a slash in it is a pattern of path names. Where a block cannot
// run, the rest of its section is skipped.
//
// What a list says that it could not look at depends on the machine, and is left
// out where the document does not show it.
//
// With -update the documents are made to show what has been seen.
func TestDocuments(t *testing.T) {
	if !mayMakeNamespaces() {
		t.Skip("this user may make no IPC namespace here")
	}
	if output, err := apart("true").CombinedOutput(); err != nil {
		t.Skipf("this user may have no /proc and no network of its own here: %s", output)
	}
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			testDocument(t, path)
		})
	}
}

var update = flag.Bool("update", false, "make the documents show what has been seen")

// documents are the files with transcripts; SEMANTICS.md has none.
func documents(t *testing.T) []string {
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(paths, "../../README.md")
}

func testDocument(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, sections, err := parseDocument(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, s := range sections {
		t.Run(s.title, func(t *testing.T) { s.test(t, path) })
	}
	if !*update {
		return
	}
	if updated := strings.Join(updatedLines(lines, sections), "\n"); updated != string(text) {
		if err := os.WriteFile(path, []byte(updated), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// updatedLines returns the lines of a document, with what has been seen.
func updatedLines(lines []string, sections []*section) []string {
	for _, s := range slices.Backward(sections) {
		for _, b := range slices.Backward(s.blocks) {
			for _, step := range slices.Backward(b.steps) {
				if step.stale {
					lines = slices.Replace(lines, step.begin, step.begin+len(step.output), step.seen...)
				}
			}
		}
	}
	return lines
}

// A section is what one shell runs.
type section struct {
	title  string
	blocks []*block
}

// A block is a block marked console.
type block struct {
	needs []string // what the comments before it say
	steps []*step
}

// A step is a command and what it prints.
type step struct {
	command string
	begin   int // the first line of the output in the document, from 0
	output  []string
	stale   bool     // if the document is to show
	seen    []string // this instead
}

var (
	needRE     = regexp.MustCompile(`^<!-- (as: (?:root|user)|needs: \S+ \(\S+\)) -->$`)
	commentRE  = regexp.MustCompile(`^<!-- *(?:as|needs)\b`)
	indentedRE = regexp.MustCompile("^\\s+```console")

	// unseenRE matches what lists say that they could not look at.
	unseenRE = regexp.MustCompile(`^ipcns: .* (could not be looked at, and .* may be missing here; |may not be looked at, and what .* is not known here)`)

	continuation = regexp.MustCompile("^>( |$)")
)

// parseDocument returns the lines of a document, and its sections that have
// something to run.
func parseDocument(text string) (lines []string, sections []*section, err error) {
	lines = strings.Split(text, "\n")
	current := &section{title: "beginning"}
	var needs []string
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		title, heading := strings.CutPrefix(line, "## ")
		need := needRE.FindStringSubmatch(line)
		switch {
		case heading:
			current = &section{title: title}
		case need != nil:
			needs = append(needs, need[1])
			continue
		case strings.HasPrefix(line, "```"):
			end := slices.Index(lines[i+1:], "```")
			if end < 0 {
				return nil, nil, fmt.Errorf("line %d: this block has no end", i+1)
			}
			if line == "```console" {
				b := &block{needs: needs}
				if b.steps, err = parseBlock(lines[:i+1+end], i+1); err != nil {
					return nil, nil, err
				}
				if len(current.blocks) == 0 {
					sections = append(sections, current)
				}
				current.blocks, needs = append(current.blocks, b), nil
			}
			i += end + 1
		case commentRE.MatchString(line):
			return nil, nil, fmt.Errorf("line %d: that is not how a comment says what a block takes", i+1)
		case indentedRE.MatchString(line):
			return nil, nil, fmt.Errorf("line %d: a block that is indented is not run", i+1)
		}
		if len(needs) > 0 && line != "" {
			return nil, nil, fmt.Errorf("line %d: no block follows the comment that says what one takes", i+1)
		}
	}
	return lines, sections, nil
}

func TestDocumentsThatAreRefused(t *testing.T) {
	for _, document := range []string{
		"```console\n$ true",             // no end
		"```console\n```",                // no command
		"```console\noutput\n```",        // before any command
		"* item\n  ```console\n  $ true", // indented
		"<!-- as: root -->\n\ntext",      // no block follows
		"<!-- as: boss -->\n```console\n$ true\n```",
		"<!-- needs: initdb -->\n```console\n$ true\n```", // of which package?
	} {
		if _, _, err := parseDocument(document); err == nil {
			t.Errorf("%q was not refused", document)
		}
	}
}

// parseBlock returns the steps of a block that begins at a line and goes on to
// the last of the lines.
func parseBlock(lines []string, first int) (steps []*step, err error) {
	for i := first; i < len(lines); i++ {
		command, typed := strings.CutPrefix(lines[i], "$ ")
		if !typed && len(steps) == 0 {
			return nil, fmt.Errorf("line %d: a block marked console begins with \"$ \" and a command", i+1)
		}
		if !typed {
			last := steps[len(steps)-1]
			last.output = append(last.output, lines[i])
			continue
		}
		for i+1 < len(lines) && continuation.MatchString(lines[i+1]) {
			i++
			command += "\n" + continuation.ReplaceAllString(lines[i], "")
		}
		steps = append(steps, &step{command: command, begin: i + 1})
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("line %d: this block is empty", first)
	}
	return steps, nil
}

// cannot says why a block cannot run here, "" if it can.
func (b *block) cannot() string {
	for _, need := range b.needs {
		what, value, _ := strings.Cut(need, ": ")
		switch root := os.Geteuid() == 0; {
		case what == "needs":
			program, from, _ := strings.Cut(value, " ")
			if !installed(program) {
				return fmt.Sprintf("there is no %s; it is in Debian's %s", program, strings.Trim(from, "()"))
			}
		case value == "root" && !root:
			return "only root can do this"
		case value == "user" && root:
			return "only an ordinary user can do this"
		}
	}
	return ""
}

func installed(program string) bool {
	if strings.Contains(program, "/") {
		found, err := filepath.Glob(program)
		return err == nil && len(found) > 0
	}
	_, err := exec.LookPath(program)
	return err == nil
}

func (s *section) test(t *testing.T, path string) {
	var shell *session
	var known standIns
	for _, b := range s.blocks {
		if reason := b.cannot(); reason != "" {
			t.Skipf("from line %d on: %s", b.steps[0].begin, reason)
		}
		if shell == nil {
			shell = startSession(t)
			known = newStandIns(t)
		}
		for _, step := range b.steps {
			step.test(t, shell, &known, path)
		}
	}
}

func (s *step) test(t *testing.T, shell *session, known *standIns, path string) {
	where := fmt.Sprintf("%s:%d: %s", path, s.begin, s.command)
	seen, status, err := shell.run(known.real(s.command), len(s.output))
	if err != nil {
		t.Fatalf("%s\n%v", where, err)
	}
	if !slices.ContainsFunc(s.output, unseenRE.MatchString) {
		seen = slices.DeleteFunc(seen, unseenRE.MatchString)
	}
	if status != 0 && len(seen) == 0 {
		t.Fatalf("%s\nfailed with exit status %d and did not say why", where, status)
	}
	if known.equal(s.output, seen) {
		return
	}
	if *update {
		s.stale, s.seen = true, known.shown(seen)
		return
	}
	t.Fatalf("%s\n%s", where, diff.Diff("document", text(s.output), "seen", text(known.shown(seen))))
}

func text(lines []string) []byte {
	var b []byte
	for _, line := range lines {
		b = append(append(b, line...), '\n')
	}
	return b
}
