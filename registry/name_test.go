//go:build linux

package registry_test

import (
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/registry"
)

func TestCheck(t *testing.T) {
	long, longer := strings.Repeat("x", 64), strings.Repeat("x", 65)
	for name, want := range map[string]string{
		"web":                             "",
		"/web":                            "",
		"web/db/2":                        "",
		"8":                               "",
		"A.b_c-d":                         "",
		"web/self":                        "",
		long:                              "",
		longer:                            `each part of a name takes up to 64 bytes, and "xxxxxxxxxxxxxxxxxxxx"... has 65; use a shorter one`,
		"web/" + longer:                   `each part of a name takes up to 64 bytes, and "xxxxxxxxxxxxxxxxxxxx"... has 65; use a shorter one`,
		"":                                `"" is no name: a part of it is empty`,
		"/":                               `"/" is no name: a part of it is empty`,
		"web/":                            `"web/" is no name: a part of it is empty`,
		"a//b":                            `"a//b" is no name: a part of it is empty`,
		"..":                              `".." is no name: each part begins with a letter or a digit`,
		"web/.making":                     `"web/.making" is no name: each part begins with a letter or a digit`,
		"-f":                              `"-f" is no name: each part begins with a letter or a digit`,
		"a b":                             `"a b" is no name: names are made of the letters a to z and A to Z, digits, and . _ -, with / between the parts`,
		"aä":                              `"aä" is no name: names are made of the letters a to z and A to Z, digits, and . _ -, with / between the parts`,
		"pid:1":                           `"pid:1" is no name: names are made of the letters a to z and A to Z, digits, and . _ -, with / between the parts`,
		"self":                            `"self" is no name for a namespace, since it means one already; use another`,
		"init/web":                        `"init" is no name for a namespace, since it means one already; use another`,
		strings.Repeat("abcd/", 51) + "e": `a name takes up to 255 bytes, and this has 256: "abcd/abcd/abcd/abcd/"...; use a shorter one`,
	} {
		got := ""
		if err := registry.Check(name); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestInside(t *testing.T) {
	for _, c := range []struct {
		name, outer string
		want        bool
	}{{"web/db", "web", true}, {"web/db/x", "web", true}, {"web", "web", false}, {"webs/db", "web", false}, {"db", "web", false}} {
		if got := registry.Inside(c.name, c.outer); got != c.want {
			t.Errorf("%s inside %s: %v", c.name, c.outer, got)
		}
	}
}

// TestResolve resolves names outside of any namespace, and in one.
func TestResolve(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	for _, c := range []struct{ name, outside, inside string }{
		{"db", "db", "web/db"},
		{"db/x", "db/x", "web/db/x"},
		{"/db", "db", "db"},
	} {
		got, err := names.Resolve(c.name)
		ipctest.Must(t, err)
		if got != c.outside {
			t.Errorf("outside, %s is %s, want %s", c.name, got, c.outside)
		}
		if got := output(t, again(command, append([]string{"exec", "web"}, within(command, "resolve", c.name)...)...)); got != c.inside+"\n" {
			t.Errorf("in web, %s is %q, want %s", c.name, got, c.inside)
		}
	}
	if _, err := names.Resolve("no name"); err == nil {
		t.Error("no error for what is no name")
	}
}
