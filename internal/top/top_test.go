//go:build linux

package top

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/listing"
	"golang.org/x/sys/unix"
)

func TestAPanicLeavesTheTerminalAsItWas(t *testing.T) {
	master, slave := openTerminal(t)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	ipctest.Must(t, err)
	var during *unix.Termios
	m := newModel(func(question) (*Look, error) {
		seen(t, master, begin)
		during, _ = unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		panic("as a test")
	}, listing.Names{}, time.Second, "")
	err = show(t.Context(), m, tea.WithInput(slave), tea.WithOutput(slave), tea.WithEnvironment([]string{"TERM=xterm"}))
	if !errors.Is(err, tea.ErrProgramPanic) {
		t.Errorf("it ended with %v", err)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	ipctest.Must(t, err)
	if during == nil || *during == *before || *after != *before {
		t.Errorf("before %+v, during %+v, after %+v", before, during, after)
	}
	ipctest.Must(t, slave.Close())
	written, err := io.ReadAll(master)
	if !errors.Is(err, unix.EIO) { // the end of what a terminal has
		t.Error(err)
	}
	if !bytes.Contains(written, []byte(end)) {
		t.Errorf("the terminal has another screen still: %q", written)
	}
}

// What begins and ends a screen that is not the shell's.
const begin, end = "\x1b[?1049h", "\x1b[?1049l"

// seen waits until the terminal has shown a text.
func seen(t *testing.T, master *os.File, text string) {
	var all []byte
	for buffer := make([]byte, 4096); !bytes.Contains(all, []byte(text)); {
		n, err := master.Read(buffer)
		ipctest.Must(t, err)
		all = append(all, buffer[:n]...)
	}
}

// openTerminal returns the two ends of a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	ipctest.Must(t, err)
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	ipctest.Must(t, err)
	ipctest.Must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	ipctest.Must(t, err)
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
