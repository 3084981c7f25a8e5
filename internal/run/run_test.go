//go:build linux

package run_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/run"
	"github.com/spf13/pflag"
)

// slowly parses as the command line does.
func slowly(args []string) (run.Request, error) {
	var r run.Request
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.StringSliceVar(&r.Share, "share", nil, "")
	flags.StringSliceVar(&r.Limits, "limit", nil, "")
	flags.BoolVar(&r.Root, "root", false, "")
	err := flags.Parse(args)
	r.Args = flags.Args()
	return r, err
}

func equal(a, b run.Request) bool {
	return a.Root == b.Root && slices.Equal(a.Share, b.Share) && slices.Equal(a.Limits, b.Limits) && slices.Equal(a.Args, b.Args)
}

// TestParseUnderstandsWhatTheCommandLineDoes tries every sequence of up to
// four of these words.
func TestParseUnderstandsWhatTheCommandLineDoes(t *testing.T) {
	words := []string{"--", "--share", "--share=shm", "mqueue,shm", "--limit=a=1,b=2", "--limit", "--root", "--root=false", "-h", "--help", "--rot", "-", "true", ""}
	understood := 0
	for args := range sequences(words, 4) {
		got, ok := run.Parse("run", args)
		if !ok {
			continue
		}
		understood++
		want, err := slowly(args)
		if err != nil || !equal(got, want) {
			t.Errorf("%q: %+v, and the command line says %+v, %v", args, got, want, err)
		}
	}
	if understood < 1000 {
		t.Errorf("only %d were understood", understood)
	}
}

func sequences(words []string, longest int) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		total := 1
		for range longest {
			total *= len(words) + 1
		}
		for n := range total {
			var args []string
			for rest := n; rest > 0; rest /= len(words) + 1 {
				if digit := rest % (len(words) + 1); digit > 0 {
					args = append(args, words[digit-1])
				}
			}
			if !yield(args) {
				return
			}
		}
	}
}

func TestParseUnderstandsTheUsual(t *testing.T) {
	for _, line := range []string{"true", "-- true", "true --help", "--share mqueue,shm -- true", "--share=shm true -x", "--limit msgmnb=64k --limit=shmmax=1g --root -- sh -c exit"} {
		if _, ok := run.Parse("run", strings.Fields(line)); !ok {
			t.Errorf("%q was left to the command line", line)
		}
	}
}
