// Package age says how long something has lasted.
package age

import (
	"fmt"
	"time"
)

// Of returns a duration in one unit, of which it has two at least: 90s, 3m, 47h,
// 12d. What is left is cut off.
func Of(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(d, 0)/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}
