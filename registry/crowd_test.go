//go:build linux

package registry_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/registry"
)

// The roles: a crowd, one process of it, a command of one of those, and the
// program of that.
const (
	crowd     = "let many processes use the same names"
	crowdling = "use the names of the arguments"
	enterName = "become the program in the namespace of a name"
	whoAmI    = "tell the namespace of this process"
)

const (
	crowdSize = 50
	crowdTime = 3 * time.Second
)

var crowdNames = []string{"a", "b", "a/x", "b/x"}

// A deed is what a process of the crowd has done, or seen, and when that began
// and ended.
type deed struct {
	What       string
	Name, To   string // To is that of rename
	ID         uint64 // the namespace that was seen at the name
	Error      string
	Begin, End int64
}

// TestOneNameIsOneNamespace lets many processes create, remove, rename and
// enter the same few names. Each succeeds or says why; and two of them that
// find a name, with nobody removing or renaming it meanwhile, find the same
// namespace.
func TestOneNameIsOneNamespace(t *testing.T) {
	forEachUser(t, func(t *testing.T, play func(string, ...string) string) {
		t.Log(play(crowd))
	})
}

func runCrowd() error {
	names, err := enterStage()
	if err != nil {
		return err
	}
	var members []*exec.Cmd
	var outputs []*bytes.Buffer
	until := strconv.FormatInt(time.Now().Add(crowdTime).UnixNano(), 10)
	for seed := range crowdSize {
		cmd := ipctest.Again(crowdling, until, strconv.Itoa(seed))
		output := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = output, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		members, outputs = append(members, cmd), append(outputs, output)
	}
	var deeds []deed
	for i, cmd := range members {
		if err := cmd.Wait(); err != nil {
			return err
		}
		for lines := bufio.NewScanner(outputs[i]); lines.Scan(); {
			var d deed
			if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
				return fmt.Errorf("%w: %s", err, lines.Text())
			}
			deeds = append(deeds, d)
		}
	}
	if err := checkDeeds(deeds); err != nil {
		return err
	}
	return endCrowd(names)
}

// endCrowd removes the names that are left, and looks whether that was all.
func endCrowd(names *registry.Registry) error {
	all, err := names.List()
	if err != nil {
		return err
	}
	for _, ns := range slices.Backward(all) {
		if ns.State != registry.Alive {
			return fmt.Errorf("%s is %s: %s", ns.Name, ns.State, ns.Why)
		}
		if _, err := names.Remove(ns.Name, registry.Removal{}); err != nil {
			return err
		}
	}
	return leftovers(names)
}

// runCrowdling does one thing after the other, mostly what changes no name.
func runCrowdling() error {
	until, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	names, random := registry.Open(), rand.New(rand.NewPCG(seed, 0))
	whats := []string{"create", "create", "rm", "rename", "exec", "run", "find", "find", "find", "find"}
	for time.Now().UnixNano() < until {
		d := deed{What: whats[random.IntN(len(whats))], Name: crowdNames[random.IntN(len(crowdNames))]}
		d.To = crowdNames[random.IntN(len(crowdNames))]
		d.Begin = time.Now().UnixNano()
		if err := d.do(names); err != nil {
			d.Error = err.Error()
		}
		d.End = time.Now().UnixNano()
		if err := json.NewEncoder(os.Stdout).Encode(d); err != nil {
			return err
		}
	}
	return nil
}

func (d *deed) do(names *registry.Registry) error {
	switch d.What {
	case "create":
		return names.Create(d.Name, registry.Spec{})
	case "rm":
		_, err := names.Remove(d.Name, registry.Removal{Recursive: true, Force: true})
		return err
	case "rename":
		return names.Rename(d.Name, d.To)
	case "find":
		ns, err := names.OpenNamespace(d.Name)
		if err != nil {
			return err
		}
		defer ns.Close()
		d.ID, err = ns.ID()
		return err
	}
	var stderr bytes.Buffer
	cmd := ipctest.Again(enterName, d.What, d.Name)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s", stderr.Bytes())
	}
	d.ID, err = strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	return err
}

func becomeInName() error {
	who := ipctest.Again(whoAmI)
	for _, variable := range who.Env {
		name, value, _ := strings.Cut(variable, "=")
		os.Setenv(name, value)
	}
	return run.Request{Name: os.Args[2], Args: []string{who.Path}, Exists: os.Args[1] == "exec"}.Become()
}

func printNamespace() error {
	ns, err := ipcns.Current()
	if err != nil {
		return err
	}
	id, err := ns.ID()
	if err != nil {
		return err
	}
	fmt.Println(id)
	return nil
}

// checkDeeds looks for what cannot have happened.
func checkDeeds(deeds []deed) error {
	counts := map[string]int{}
	for _, d := range deeds {
		if d.Error != "" {
			if err := d.checkError(); err != nil {
				return err
			}
			counts[d.What+" refused"]++
			continue
		}
		counts[d.What]++
	}
	for _, name := range crowdNames {
		if err := checkName(name, deeds); err != nil {
			return err
		}
	}
	fmt.Println(counts)
	return nil
}

// checkError expects one of the reasons that there are for a refusal.
func (d deed) checkError() error {
	for _, reason := range []string{
		"there is no namespace ", "a namespace of that name exists", "cannot be inside itself",
	} {
		if strings.Contains(d.Error, reason) {
			return nil
		}
	}
	return fmt.Errorf("%+v", d)
}

// takesFrom reports whether the deed takes what is there from a name.
func (d deed) takesFrom(name string) bool {
	return d.Error == "" && (d.What == "rm" || d.What == "rename") && (d.Name == name || registry.Inside(name, d.Name))
}

// arrivesAt reports whether the deed brings another namespace to a name.
func (d deed) arrivesAt(name string) bool {
	return d.Error == "" && (d.What == "create" && d.Name == name || d.What == "rename" && d.To == name)
}

// checkName expects that something was taken from a name between any two that
// were another namespace there: seen, or brought there.
func checkName(name string, all []deed) error {
	var there []deed
	for _, d := range all {
		if d.arrivesAt(name) || d.Name == name && d.ID != 0 {
			there = append(there, d)
		}
	}
	slices.SortFunc(there, func(a, b deed) int { return cmp.Compare(a.End, b.End) })
	for i, first := range there {
		for _, second := range there[i+1:] {
			another := second.ID != first.ID || second.ID == 0
			if !another || second.ID == 0 != (first.ID == 0) {
				continue
			}
			if !slices.ContainsFunc(all, func(d deed) bool {
				return d.takesFrom(name) && d.Begin < second.End && d.End > min(first.Begin, second.Begin)
			}) {
				return fmt.Errorf("%s has been two namespaces: %+v and then %+v, and nobody has taken the first away", name, first, second)
			}
			break
		}
	}
	return nil
}
