// Command ipcns gives any program its own IPC namespace.
package main

import (
	"os"

	"github.com/ipcns/ipcns/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
