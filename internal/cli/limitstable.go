//go:build linux

package cli

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/ipc"
)

// limitsTable tells of each limit what it is in a new namespace, what it may
// be set to, and what it bounds.
func limitsTable() string {
	t := table{rightAligned: []bool{false, false, true, false, false}}
	t.add("", "LIMIT", "DEFAULT", "RANGE", "WHAT IT BOUNDS")
	defaults := ipc.DefaultLimits()
	for _, limit := range ipc.AllLimits {
		t.add("", limit.Name, power(*limit.Of(&defaults)), power(limit.Min)+".."+power(limit.Max), limit.Bounds)
	}
	var b strings.Builder
	t.write(&b, 0) // a Builder takes everything
	return b.String()
}

// power writes a long number by the powers of two that it is next to, if so.
func power(n uint64) string {
	const long = 1 << 24
	switch {
	case n < long:
	case n&(n-1) == 0:
		return fmt.Sprintf("2^%d", bits.TrailingZeros64(n))
	case n&(n+1) == 0:
		return fmt.Sprintf("2^%d-1", bits.Len64(n))
	case bits.OnesCount64(n) == 63:
		return fmt.Sprintf("2^64-1-2^%d", bits.TrailingZeros64(^n))
	}
	return strconv.FormatUint(n, 10)
}
