//go:build linux

package launch_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

const watchDev = "watch the mounts during a launch"

// TestMountsOfTheHostStayAsTheyAre launches a program that gets a /dev/mqueue
// where the host has one, and where it has not. The host shares its mounts, as
// systemd has it: what is mounted later is to be seen by the program.
func TestMountsOfTheHostStayAsTheyAre(t *testing.T) {
	for _, prepare := range []string{"dev with mqueue", "dev without mqueue"} {
		for _, way := range []string{direct, stub} {
			t.Run(prepare+" "+way, func(t *testing.T) {
				cmd := ipctest.Apart(t, ipctest.Again(watchDev, prepare, way))
				run(t, cmd).expect(t, `mqueue
null
shm
mqueue
tmpfs
/dev/null is a device
the host's /dev is the same: true
the host's mounts are the same: true
mounted later
`)
			})
		}
	}
}

func watchDuringLaunch() error {
	if err := preparations[os.Args[1]](); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	look := func() (dev, mounts string) {
		entries, err := os.ReadDir("/dev")
		text, err2 := os.ReadFile("/proc/self/mountinfo")
		return fmt.Sprint(entries, err, err2), string(text)
	}
	dev, mounts := look()
	o := script(`ls /dev; stat -f -c %T /dev/mqueue /dev/shm; test -c /dev/null && echo >/dev/null && echo /dev/null is a device
echo done >&2; read line; ls /tmp`)
	o.ViaStub, o.Mqueue, o.Shm = os.Args[2] == stub, true, true
	cmd, close, err := o.start()
	if err != nil {
		return err
	}
	defer close()
	cmd.Stdout = os.Stdout
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said := make([]byte, 1000)
	n, err := stderr.Read(said)
	if string(said[:n]) != "done\n" {
		return fmt.Errorf("%q, error %w", said[:n], err)
	}
	devAfter, mountsAfter := look()
	fmt.Println("the host's /dev is the same:", devAfter == dev)
	fmt.Println("the host's mounts are the same:", mountsAfter == mounts)
	if err := errors.Join(unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""), os.WriteFile("/tmp/mounted later", nil, 0o600), stdin.Close()); err != nil {
		return err
	}
	return cmd.Wait()
}
