//go:build linux

package supervise_test

func attachInLoop() error { return errNoCode }
