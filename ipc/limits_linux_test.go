package ipc_test

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestDefaultLimitsAreThoseOfAFreshNamespace(t *testing.T) {
	ipctest.InNew(t, func() error {
		got, err := kernel.System{}.Limits()
		if want := ipc.DefaultLimits(); got != want {
			t.Errorf("the kernel has %+v\nthe defaults are %+v", got, want)
		}
		return err
	})
}

// takenBelowMin are the limits that are an int in the kernel and that it does
// not check (SEMANTICS A.3): their Min is what makes sense.
var takenBelowMin = []string{"semmsl", "semmns", "semopm", "queues_max"}

// TestRangesAreThoseOfTheKernel writes the ends of every range and what is
// next to them, in a namespace for each limit: a write that the kernel
// refuses may still have changed the limits in the same file.
func TestRangesAreThoseOfTheKernel(t *testing.T) {
	for _, limit := range ipc.AllLimits {
		t.Run(limit.Name, func(t *testing.T) {
			lowest, highest := new(big.Int).SetUint64(limit.Min), new(big.Int).SetUint64(limit.Max)
			one := big.NewInt(1)
			ipctest.InNew(t, func() error {
				return errors.Join(
					expect(t, limit, lowest, true),
					expect(t, limit, highest, true),
					expect(t, limit, new(big.Int).Sub(lowest, one), slices.Contains(takenBelowMin, limit.Name)),
					expect(t, limit, new(big.Int).Add(highest, one), false))
			})
		})
	}
}

// expect writes a value of the limit, which may be none that it can hold.
func expect(t *testing.T, limit ipc.Limit, value *big.Int, taken bool) error {
	// The number stands where the limit has its default.
	const marker = 31415926
	limits := ipc.DefaultLimits()
	*limit.Of(&limits) = marker
	path, content, err := kernel.LimitFile(limit.Name, &limits)
	if err != nil {
		return err
	}
	content = strings.Replace(content, fmt.Sprint(marker), value.String(), 1)
	err = os.WriteFile(path, []byte(content), 0)
	if !taken {
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ERANGE) {
			t.Errorf("writing %q to %s: error %v", content, path, err)
		}
		return nil
	}
	if err != nil {
		t.Errorf("writing %q to %s: error %v", content, path, err)
		return nil
	}
	got, err := kernel.System{}.Limits()
	if value.Sign() >= 0 && *limit.Of(&got) != value.Uint64() {
		t.Errorf("wrote %q to %s, then %s was %d", content, path, limit.Name, *limit.Of(&got))
	}
	return err
}
