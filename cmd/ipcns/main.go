// Command ipcns gives any program its own IPC namespace.
package main

import (
	"os"

	"github.com/ipcns/ipcns/internal/cli"
	_ "github.com/ipcns/ipcns/internal/run/early" // before cli is initialised
)

func main() { os.Exit(cli.Main(os.Args)) }
