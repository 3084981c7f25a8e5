package sys

import "golang.org/x/sys/unix"

// Capable reports whether the process has one of the capabilities up to 31, by
// its number in capabilities(7), as an effective one.
func Capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&(1<<capability) != 0
}
