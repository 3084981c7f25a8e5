// Digest reads what "go test -json" prints and prints what "go test" would
// have, and then the tests that were skipped, with their reasons.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is one line of go test -json; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
}

func main() {
	type test struct{ pkg, name string }
	said := map[test]string{} // what tests that have not ended have printed
	var reasons []string
	skipped := map[string][]string{} // tests by reason
	for events := json.NewDecoder(os.Stdin); ; {
		var e event
		if err := events.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "cannot read what go test prints: %v\n", err)
			os.Exit(1)
		}
		t := test{e.Package, e.Test}
		if e.Test == "" {
			if strings.HasPrefix(e.Output, "FAIL") {
				for t := range said { // which have not come to an end
					if t.pkg == e.Package {
						fmt.Print(said[t])
						delete(said, t)
					}
				}
			}
			if e.Output != "PASS\n" {
				fmt.Print(e.Output)
			}
			continue
		}
		switch e.Action {
		case "output":
			if !strings.HasPrefix(e.Output, "=== ") {
				said[t] += e.Output
			}
		case "fail":
			fmt.Print(said[t])
			delete(said, t)
		case "skip":
			why := e.Package + ": " + reason(said[t])
			if skipped[why] == nil {
				reasons = append(reasons, why)
			}
			skipped[why] = append(skipped[why], e.Test)
			delete(said, t)
		case "pass":
			fmt.Print(counted(said[t]))
			delete(said, t)
		}
	}
	if len(reasons) > 0 {
		fmt.Println("\nSkipped:")
	}
	for _, why := range reasons {
		fmt.Printf("%s: %s\n", why, strings.Join(skipped[why], ", "))
	}
}

// counted is what a test that has passed wants to be seen: the lines with the
// word prove, in which the conformance suite counts its cases.
func counted(said string) string {
	var b strings.Builder
	for line := range strings.Lines(said) {
		if _, count, found := strings.Cut(line, ".go:"); found && strings.Contains(count, " cases prove ") {
			_, text, _ := strings.Cut(count, ": ")
			b.WriteString("        " + text)
		}
	}
	return b.String()
}

// reason is the last that a skipped test has said, without the place. What
// package testscript says after that is what the script has done.
func reason(said string) string {
	reason := "no reason given"
	for line := range strings.Lines(said) {
		place, text, found := strings.Cut(strings.TrimSpace(line), ": ")
		if found && strings.Contains(place, ".go:") && !strings.HasPrefix(place, "testscript.go:") {
			reason = text
		}
	}
	return reason
}
