//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// onlyNames is the part of this program that makes names, in a place apart.
const onlyNames = "names"

// single is how many times a program that does a thing once is started, where
// ipcns does it -names times.
const single = 100

// compareNames starts this program again where there is no name.
func (t tools) compareNames() error {
	if os.Geteuid() != 0 {
		fmt.Print("Names: skipped, since it takes root to keep them apart from those of the machine\n\n")
		return nil
	}
	// The shell is process 1, which has to wait for orphans, as holders are.
	again, err := t.again(onlyNames, "sh", "-c", `"$@"; exit $?`, "sh")
	if err != nil {
		return err
	}
	return runApart(again)
}

// compareNamesHere compares in this mount namespace, which is nobody else's.
func (t tools) compareNamesHere(dir string) error {
	if err := mountRun(); err != nil {
		return fmt.Errorf("cannot keep names apart from those of the machine: %w", err)
	}
	t["NAMES"] = filepath.Join(dir, "names")
	if err := os.WriteFile(t["NAMES"], []byte(strings.Join(numbered("n", single), "\n")), 0o644); err != nil {
		return err
	}
	fmt.Printf("Names, in a mount namespace of bench's own with an empty /run; NAMES is a file of %d:\n\n", single)
	if !hasMqueueDir() {
		if err := t.compareMakingMany(", where there is no /dev/mqueue, and each gets a whole /dev to have one", ""); err != nil {
			return err
		}
		if err := mountDev(); err != nil {
			return fmt.Errorf("cannot make a place for mqueue in /dev: %w", err)
		}
	}
	if err := t.compareMakingMany("", "--share mqueue,shm "); err != nil {
		return err
	}
	if err := t.compareMakingMany(", where there is a /dev/mqueue", ""); err != nil {
		return err
	}
	if err := t.compareNamesAsRoot(); err != nil {
		return err
	}
	return t.compareNamesAsUser()
}

// compareMakingMany compares one command that makes many names with one for
// each of what is nearest to a name.
func (t tools) compareMakingMany(place, flags string) error {
	c := comparison{
		ours:       fmt.Sprintf("ipcns create %sn{1..%d}", flags, *names),
		undoOurs:   removeMany(),
		theirs:     "xargs -n 1 -a NAMES ip netns add",
		undoTheirs: "xargs -n 1 -a NAMES ip netns del",
		times:      float64(*names) / single,
		wanted:     "ours in a second at most",
	}
	fmt.Printf("Making %d names as root%s:\n\n", *names, place)
	if _, err := t.compare(c, *rounds, nil); err != nil {
		return err
	}
	c.theirs, c.undoTheirs = "xargs -n 1 -a NAMES unshare -U -i -m --map-current-user true", ""
	fmt.Printf("Making %d names as an ordinary user%s:\n\n", *names, place)
	_, err := t.compare(c, *rounds, ordinaryUser)
	return err
}

const (
	makeShared  = "ipcns create --share mqueue,shm shared"
	makePrivate = "ipcns create private"
)

func (t tools) compareNamesAsRoot() error {
	if err := os.WriteFile("/run/x", nil, 0o644); err != nil {
		return err
	}
	fmt.Print("A name made and removed, as root:\n\n")
	if err := t.compareAll(nil,
		comparison{ours: "ipcns create --share mqueue,shm x && ipcns rm x", theirs: "unshare --ipc=/run/x true && umount /run/x"},
		comparison{ours: "ipcns create x && ipcns rm x", theirs: "ip netns add x && ip netns del x"},
	); err != nil {
		return err
	}
	if err := t.do(nil, "ip netns add x", makePrivate, makeShared); err != nil {
		return err
	}
	fmt.Print("A program in a network namespace has mounts of its own too:\n\n")
	if err := t.compareAll(nil, comparison{ours: "ipcns exec private true", theirs: "ip netns exec x true"}); err != nil {
		return err
	}
	mounts, err := filepath.Glob("/run/ipcns/.mnt/*")
	if err != nil || len(mounts) != 1 {
		return errors.Join(err, fmt.Errorf("there is not one mount namespace that is kept, but %q", mounts))
	}
	const shared, private = "/run/ipcns/shared/.ipc", "/run/ipcns/private/.ipc"
	if err := t.compareExecs("root", nil,
		comparison{ours: "ipcns exec shared true", theirs: "nsenter --ipc=" + shared + " true", wanted: wantedOfExec},
		comparison{ours: "ipcns exec private true", theirs: "nsenter --ipc=" + private + " --mount=" + mounts[0] + " true"},
		comparison{ours: "unshare -i ipcns exec shared true", theirs: "unshare -i nsenter --ipc=" + shared + " true"},
	); err != nil {
		return err
	}
	fmt.Printf("Listing %d names as root; lsns does not see them:\n\n", *names)
	if err := t.compareLists(nil, "ls -lR /run/ipcns", "lsns -t ipc"); err != nil {
		return err
	}
	return t.do(nil, removeMany())
}

func removeMany() string { return fmt.Sprintf("ipcns rm n{1..%d}", *names) }

const wantedOfExec = "1.5 at most"

func (t tools) compareNamesAsUser() error {
	fmt.Print("A name made and removed, as an ordinary user, and a namespace that ends at once:\n\n")
	if err := t.compareAll(ordinaryUser,
		comparison{ours: "ipcns create --share mqueue,shm x && ipcns rm x", theirs: "unshare -U -i --map-current-user true"},
		comparison{ours: "ipcns create x && ipcns rm x", theirs: "unshare -U -i -m --map-current-user true"},
	); err != nil {
		return err
	}
	if err := t.do(ordinaryUser, makePrivate, makeShared); err != nil {
		return err
	}
	if err := printHolders(); err != nil {
		return err
	}
	pid, end, err := startInside(ordinaryUser)
	if err != nil {
		return err
	}
	defer end()
	enter := fmt.Sprintf("nsenter -t %d -U -i", pid)
	if err := t.compareExecs("an ordinary user", ordinaryUser,
		comparison{ours: "ipcns exec shared true", theirs: enter + " --preserve-credentials true", wanted: wantedOfExec},
		comparison{ours: "ipcns exec private true", theirs: enter + " -m --preserve-credentials true"},
	); err != nil {
		return err
	}
	fmt.Printf("Listing %d names as an ordinary user:\n\n", *names)
	return t.compareLists(ordinaryUser, "lsns -t ipc")
}

// compareExecs compares ways into namespaces: first when there is no other
// name, and then with many more, which stay.
func (t tools) compareExecs(who string, user *syscall.Credential, execs ...comparison) error {
	fmt.Printf("Running a program in a namespace that has a name, as %s:\n\n", who)
	var alone []float64
	for _, c := range execs {
		ratio, err := t.compare(c, *starts, user)
		if err != nil {
			return err
		}
		alone = append(alone, ratio)
	}
	if err := t.do(user, fmt.Sprintf("ipcns create n{1..%d}", *names)); err != nil {
		return err
	}
	fmt.Printf("The same with %d more names:\n\n", *names)
	for i, c := range execs {
		ratio, err := t.compare(c, *starts, user)
		if err != nil {
			return err
		}
		if alone[i] > 0 {
			fmt.Printf("    that ratio by the one without more names: %.2f   wanted: 1.1 at most\n\n", ratio/alone[i])
		}
	}
	return nil
}

func (t tools) compareLists(user *syscall.Credential, theirs ...string) error {
	for _, their := range theirs {
		if _, err := t.compare(comparison{ours: "ipcns ls --json", theirs: their, wanted: "ours in a second at most"}, *listings, user); err != nil {
			return err
		}
	}
	return nil
}

func (t tools) compareAll(user *syscall.Credential, comparisons ...comparison) error {
	for _, c := range comparisons {
		if _, err := t.compare(c, *starts, user); err != nil {
			return err
		}
	}
	return nil
}

// do runs what is not measured.
func (t tools) do(user *syscall.Credential, lines ...string) error {
	for _, line := range lines {
		if err := t.command(line, "", user).try(); err != nil {
			return err
		}
	}
	return nil
}

// startInside starts a process in namespaces of its own, as a holder is, but
// for a second user namespace, from which nsenter does not find the way out.
func startInside(user *syscall.Credential) (pid int, end func(), err error) {
	cmd := exec.Command("unshare", "-U", "-i", "-m", "--map-current-user", "cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	end = func() {
		in.Close()
		cmd.Wait()
	}
	// What comes back says that it is there.
	_, err = in.Write([]byte("."))
	if err == nil {
		_, err = out.Read(make([]byte, 1))
	}
	if err != nil {
		end()
		return 0, nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return cmd.Process.Pid, end, nil
}

// printHolders prints how much memory each holder of a namespace has.
func printHolders() error {
	files, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return err
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(status, []byte("Name:\tipcns-holder\n")) {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if size, found := strings.CutPrefix(line, "VmRSS:"); found {
				fmt.Printf("A holder's resident memory: %s\n", strings.TrimSpace(size))
			}
		}
	}
	fmt.Println()
	return nil
}
