//go:build linux

package doctor_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

// codes returns what the pattern's group matches in a file, sorted.
func codes(t *testing.T, path, pattern string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	ipctest.Must(t, err)
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// The page, the help and the tests of this package have the codes that there are.
func TestCodesAreDocumented(t *testing.T) {
	want := codes(t, "finding.go", `Code = "(.+)"`)
	if len(want) == 0 {
		t.Fatal("there are no codes")
	}
	for path, pattern := range map[string]string{
		"../../docs/doctor.md": "(?m)^## `(.+)`$",
		"../cli/doctor.go":     `(?m)^  ([a-z-]+)  `,
		"doctor_test.go":       `"(?:error|warning|note) ([a-z-]+) `,
	} {
		if got := codes(t, path, pattern); !slices.Equal(got, want) {
			t.Errorf("%s has %q instead of %q", path, got, want)
		}
	}
}
