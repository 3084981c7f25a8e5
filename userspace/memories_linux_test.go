package userspace_test

import "github.com/ipcns/ipcns/userspace"

func init() { memories["memfd"] = userspace.Memfd{} }
