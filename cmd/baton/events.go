package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

func newEventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, with reasons",
		Long: "Show what happened, with reasons, oldest first.\n\n" +
			"With --follow it goes on with what happens from now on, also over a restart of the daemon.",
		Args: cobra.NoArgs,
	}
	e := events{cmd: cmd}
	dial, asJSON := addSocket(cmd), addJSON(cmd)
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with what happens from now on")
	n := cmd.Flags().IntP("lines", "n", 20, "how many of the last events are shown")
	last := cmd.Flags().Duration("since", 0, "only events of so long ago at most, such as 2h")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *n < 0 {
			return exitError{exitUsage, errors.New("--lines must not be negative")}
		}
		if *last > 0 {
			e.since = time.Now().Add(-*last)
		}
		e.client, e.json, e.color = dial(), *asJSON, colored(cmd)
		defer e.client.Close()
		if *follow {
			return e.follow(*n)
		}
		return e.list(*n)
	}
	return cmd
}

// events shows events.
type events struct {
	cmd    *cobra.Command
	client *api.Client
	since  time.Time
	json   bool
	color  bool
	seen   uint64 // the number of the last one
}

// fetch returns the last n events.
func (e *events) fetch(ctx context.Context, n int) ([]api.Event, error) {
	// The daemon takes 0 for all, people do not.
	list, err := e.client.Events(ctx, max(n, 1), e.since)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 {
		e.seen = list[len(list)-1].Seq
	}
	return list[max(len(list)-n, 0):], nil
}

func (e *events) list(n int) error {
	list, err := e.fetch(e.cmd.Context(), n)
	if err != nil {
		return err
	}
	if e.json {
		return printJSON(e.cmd, api.Events{Events: list})
	}
	for _, ev := range list {
		if err := e.show(ev); err != nil {
			return err
		}
	}
	return nil
}

// show prints one event as one line.
func (e *events) show(ev api.Event) error {
	if e.json {
		return printLine(e.cmd, ev)
	}
	return printText(e.cmd, ev.Text(e.color)+"\n")
}

// retry is how long a follower waits before it tries to connect again.
const retry = time.Second

// follow shows events until it is interrupted.
func (e *events) follow(n int) error {
	ctx, stop := withSignals(e.cmd.Context())
	defer stop()
	list, err := e.fetch(ctx, n)
	for _, ev := range list {
		err = errors.Join(err, e.show(ev))
	}
	if err != nil {
		return err
	}
	for told := false; ; {
		var failed error // to print
		err := e.client.Follow(ctx, e.seen, func(ev api.Event) {
			told, e.seen = false, ev.Seq
			if ev.At.After(e.since) {
				failed = errors.Join(failed, e.show(ev))
			}
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case failed != nil:
			return failed
		case !errors.Is(err, api.ErrUnreachable):
			return err
		case !told:
			told = true
			e.cmd.PrintErrln("baton:", err.Error()+"; waiting for it to come back")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}
