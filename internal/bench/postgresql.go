//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed testdata/pgbench.sh
var pgbenchSource []byte

const pgbenchRuns = 5

// comparePostgreSQL compares how many transactions a PostgreSQL server does, that
// is served and that is not. The one that is not has a namespace of the kernel's,
// since this machine's own is nobody's to measure in.
func (t tools) comparePostgreSQL(dir string) error {
	cluster, path := filepath.Join(dir, "cluster"), os.Getenv("PATH")
	servers, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is right
	if len(servers) > 0 {
		path += ":" + servers[len(servers)-1] // where Debian has it
	}
	if err := makeCluster(cluster); err != nil {
		return err
	}
	script := filepath.Join(dir, "pgbench.sh")
	if err := os.WriteFile(script, pgbenchSource, 0o755); err != nil {
		return err
	}
	perSecond := func(engine string, options []string) (float64, error) {
		cmd := exec.Command(t["ipcns"], append([]string{"run", "--engine", engine, "--", "sh", script, cluster, "5"}, options...)...)
		cmd.Env = append(os.Environ(), "PATH="+path)
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser} // the server refuses root
		}
		return printed(cmd)
	}
	if _, err := perSecond("kernel", nil); err != nil {
		fmt.Printf("pgbench: skipped: %v\n\n", err)
		return nil
	}
	fmt.Printf("Transactions a second of PostgreSQL, with 4 clients, served and on a namespace of the kernel's:\n\n")
	for _, options := range [][]string{{"-S"}, {}, {"-S", "-C"}} {
		var ours, theirs, ratios []float64
		for range pgbenchRuns {
			our, err := perSecond("userspace", options)
			if err != nil {
				return err
			}
			their, err := perSecond("kernel", options)
			if err != nil {
				return err
			}
			ours, theirs, ratios = append(ours, our), append(theirs, their), append(ratios, our/their)
		}
		fmt.Printf("%-14s %5.2f (%.2f to %.2f)   %6.0f / %6.0f\n", strings.TrimSpace("pgbench "+strings.Join(options, " ")), quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), quartile(2, ours), quartile(2, theirs))
	}
	fmt.Println()
	return nil
}

// makeCluster makes the directory of a cluster, which is the ordinary user's.
func makeCluster(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil || os.Geteuid() != 0 {
		return err
	}
	return os.Chown(dir, int(ordinaryUser.Uid), int(ordinaryUser.Gid))
}
