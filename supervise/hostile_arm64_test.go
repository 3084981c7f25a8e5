//go:build linux

package supervise_test

import "errors"

func attachInLoop() error { return errNoCode }

var errNoCode = errors.New("there is no machine code for this machine")
