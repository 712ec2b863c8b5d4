package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"baton/internal/config"
	"baton/internal/network"
	"baton/internal/pulse"
	"baton/internal/speaker"
)

// newRunCommand is "baton run": the pulse process.
func newRunCommand() *cobra.Command {
	path := config.DefaultPath
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: "Run the daemon in the foreground: the routers in this process, everything else in a child.\n\n" +
			"SIGTERM and SIGINT stop it as planned: the addresses are handed to the peer without loss.\n" +
			"SIGHUP reloads the configuration. SIGUSR1 writes the whole state to the log.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPulse(cmd.Context(), path) },
	}
	cmd.Flags().StringVarP(&path, "config", "c", path, "configuration file")
	return cmd
}

func runPulse(ctx context.Context, path string) error {
	keepThreads()
	if err := pulse.Permitted(); err != nil {
		return err
	}
	log, sink := newLog(os.Stderr, "pulse")
	startFrugally()
	if err := pulse.Favour(); err != nil {
		log.Warn("this process does not go before others on a busy host; it works all the same", "error", err)
	}
	addresses, err := network.Open(log)
	if err != nil {
		return err
	}
	defer addresses.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := pulse.New(pulse.Options{
		Log: log, SetLog: sink.set,
		Edges: speaker.Edges{
			Network: addresses, OpenConn: openConn, OpenSender: openSender,
			OpenAnnounce: openAnnouncer, OpenConflicts: openConflicts,
		},
		Director: func(lastGood string) *exec.Cmd {
			cmd := exec.Command(self, "director", "-c", path, "--last-good", lastGood) //nolint:gosec // ourselves
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd
		},
		Reload: notifications(syscall.SIGHUP), Dump: notifications(syscall.SIGUSR1),
	})
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err = p.Run(ctx)
	if errors.Is(err, pulse.ErrRefused) {
		return exitError{code: exitUsage} // the director has said why
	}
	return err
}

// notifications turns a signal into a channel.
func notifications(sig os.Signal) <-chan struct{} {
	signals, out := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, sig)
	go func() {
		for range signals {
			out <- struct{}{}
		}
	}()
	return out
}
