package age_test

import (
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/age"
)

func TestOf(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                  "0s",
		0:                             "0s",
		1999 * time.Millisecond:       "1s",
		119 * time.Second:             "119s",
		2 * time.Minute:               "2m",
		2*time.Hour - time.Nanosecond: "119m",
		2 * time.Hour:                 "2h",
		47*time.Hour + 59*time.Minute: "47h",
		48 * time.Hour:                "2d",
		1000 * time.Hour:              "41d",
	} {
		if got := age.Of(d); got != want {
			t.Errorf("%v is %q instead of %q", d, got, want)
		}
	}
}
