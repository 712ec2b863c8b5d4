package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"baton/internal/config"
	"baton/internal/director"
	"baton/internal/link"
	"baton/internal/network"
	"baton/internal/pulse"
	"baton/internal/speaker"
)

// linkDescriptor is where pulse leaves the link for its child.
const linkDescriptor = 3

// newDirectorCommand is "baton director": the child that pulse starts. It is not
// for people.
func newDirectorCommand() *cobra.Command {
	var path, lastGood string
	cmd := &cobra.Command{
		Use:    "director",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDirector(cmd.Context(), path, lastGood)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", config.DefaultPath, "configuration file")
	cmd.Flags().StringVar(&lastGood, "last-good", "", "where the last good configuration was kept")
	return cmd
}

func runDirector(ctx context.Context, path, lastGood string) error {
	keepThreads()
	startQuickly()
	// Pulse decides when this process stops: signals to the whole group, such as
	// Ctrl-C, reach pulse, too, and it hands over first.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	log, sink := newLog(os.Stderr, "director")
	if err := pulse.Unfavour(); err != nil {
		log.Warn("this process keeps the scheduling class of pulse", "error", err)
	}
	conn, err := link.FromFile(os.NewFile(linkDescriptor, "link"))
	if err != nil {
		return fmt.Errorf("%w: this command is started by \"baton run\" only", err)
	}
	addresses, err := network.Open(log)
	if err != nil {
		return err
	}
	defer addresses.Close()
	d, err := director.New(path, director.Options{
		Version: version, Log: log, SetLog: sink.set, Link: conn, LastGood: lastGood, Began: runFrugally,
		Heir: speaker.Heir{OpenConn: openConn, OpenSender: openSender, Remover: addresses},
	})
	if err != nil {
		return refused(path, err)
	}
	return d.Run(ctx)
}

// refused prints what is wrong with the configuration; the exit status tells
// pulse not to try again.
func refused(path string, err error) error {
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		return exitError{code: exitUsage, err: err}
	}
	for _, m := range mistakes {
		fmt.Fprintln(os.Stderr, m.Error())
	}
	return exitError{code: exitUsage, err: fmt.Errorf("%s is invalid (%d mistakes), so baton does not start", path, len(mistakes))}
}
