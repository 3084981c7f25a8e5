package userspace_test

import "github.com/ipcns/ipcns/userspace"

// memories are the kinds of memory that segments may be of on this system.
var memories = map[string]userspace.Memory{"anonymous": userspace.Anonymous{}}
