//go:build linux

package kernel

var Interruptible = interruptible
