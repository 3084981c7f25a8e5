//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/metrics"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/spf13/cobra"
)

// looksApart is the time between two looks of a server: what Prometheus asks
// for more often it gets again.
const looksApart = time.Second

func newMetrics() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "metrics [--listen ADDR]",
		Short: "Print, or serve, metrics for Prometheus",
		Long: fmt.Sprintf(`Print metrics of all IPC namespaces as text for Prometheus: for each the processes,
objects, messages and bytes, the limits, what keeps it, who waits and for how
long. The label ns is what commands take as NS: a name, or ipc:[INODE].

How full a queue is has a series for each queue, but no more than %d of a kind
in a namespace: the fullest. All other labels have few values.

It prints what the textfile collector of node_exporter reads. --listen serves it
at http://ADDR%s instead, and as OpenMetrics to who asks for that, until
SIGTERM or SIGINT. ADDR is PORT or ADDRESS:PORT; without an address it is
127.0.0.1, which this machine alone reaches. There is one look at the machine
at a time, and one a second at most.

What this user may not see is left out, and ipcns_unseen_processes says how many
processes that concerns. Root sees all.`, metrics.QueuesTold, metrics.Path),
		Example: `  sudo ipcns metrics | sponge /var/lib/node_exporter/ipcns.prom
  sudo ipcns metrics --listen 9876
  ipcns metrics --listen 192.0.2.1:9876
  ipcns metrics | grep ^ipcns_waiting_threads`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("listen") {
				return serveMetrics(cmd.ErrOrStderr(), listen)
			}
			look, err := lookForMetrics()
			if err != nil {
				return err
			}
			return metrics.Write(cmd.OutOrStdout(), look, metrics.Text)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve at `ADDR`: PORT on loopback, or ADDRESS:PORT")
	return cmd
}

func lookForMetrics() (metrics.Look, error) {
	begun := time.Now()
	s, err := takeWhole(survey.Options{Contents: true, Limits: true, Processes: true})
	return metrics.Look{Survey: s, Took: time.Since(begun)}, err
}

// serveMetrics serves until a signal ends it, and says where.
func serveMetrics(stderr io.Writer, listen string) error {
	address, err := metrics.Address(listen)
	if err != nil {
		return wrongUsage("--listen: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; take another address with --listen", address, reasonOf(err))
	}
	fmt.Fprintf(stderr, "ipcns: metrics are at http://%s%s\n", listener.Addr(), metrics.Path)
	return metrics.Serve(ctx, listener, lookForMetrics, looksApart)
}

// reasonOf returns what the system said, without the address, which package net
// repeats.
func reasonOf(err error) error {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
