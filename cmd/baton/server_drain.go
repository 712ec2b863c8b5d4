package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

const (
	// defaultWait is how long --wait without a duration waits.
	defaultWait = "10m"
	// drainLook is the time between two looks at a server that drains; the director
	// looks at the kernel every second.
	drainLook = 500 * time.Millisecond
	// absence is how long a server may be unknown before it counts as gone: a
	// director that has just started does not know its servers yet.
	absence = 10 * time.Second
)

func newDrainCommand(dial func() *api.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain SERVICE ADDRESS",
		Short: "Give a server no new connections; those that it has go on",
		Long: "Give a server no new connections, and let those that it has go on. Without connections, or when the service's\n" +
			"drain_timeout is over, it leaves the kernel's table. It does not count for the quorum. \"enable\" takes this back.\n\n" +
			"With --wait the command returns when the server has left the table, and fails when that takes longer.\n" +
			"What is left at a drain_timeout is cut. With the scheduler dh, where a server cannot stay without new\n" +
			"connections, its connections end at once.",
		Args: cobra.ExactArgs(2),
	}
	asJSON, reason := addJSON(cmd), addReason(cmd)
	wait := cmd.Flags().Duration("wait", 0, "return when it has no connections any more, and fail after `DURATION` (--wait alone: "+defaultWait+")")
	cmd.Flags().Lookup("wait").NoOptDefVal = defaultWait
	cmd.ValidArgsFunction = complete(dial, offerServers)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := dial()
		defer c.Close()
		out, err := c.Override(cmd.Context(), args[0], args[1], api.ServerPatch{State: api.ServerDraining, Reason: *reason})
		if err != nil {
			return err
		}
		if *wait <= 0 {
			return printOverridden(cmd, out, *asJSON)
		}
		if !*asJSON {
			if err := printOverridden(cmd, out, false); err != nil {
				return err
			}
		}
		began := time.Now()
		out.Server, err = waitDrained(cmd.Context(), c, out, *wait)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd, out)
		}
		return printText(cmd, fmt.Sprintf("it has left the table after %s\n", time.Since(began).Round(time.Second)))
	}
	return cmd
}

// waitDrained waits until a server that drains has left the table. A director that
// is restarted meanwhile is waited for.
func waitDrained(ctx context.Context, c *api.Client, out api.Overridden, limit time.Duration) (api.RealServer, error) {
	ctx, cancel := withSignals(ctx)
	defer cancel()
	end := time.Now().Add(limit)
	srv, seen := out.Server, time.Now()
	what := fmt.Sprintf("server %s of service %s", srv.Address, out.Service)
	for {
		now, err := c.Server(ctx, out.Service, srv.Address)
		var problem *api.Problem
		switch {
		case err == nil:
			srv, seen = now, time.Now()
		case ctx.Err() != nil:
			return srv, fmt.Errorf("%s drains on: interrupted", what)
		case errors.As(err, &problem) && problem.Status == http.StatusNotFound:
			if time.Since(seen) > absence {
				return srv, fmt.Errorf("%s is gone from the service while it drained: %w", what, err)
			}
		case !errors.Is(err, api.ErrUnreachable):
			return srv, err
		}
		switch {
		case err == nil && srv.State != api.ServerDraining:
			return srv, fmt.Errorf("%s does not drain any more, it is %s: %s", what, srv.State, srv.Reason)
		case err == nil && srv.Drained:
			return srv, nil
		case !time.Now().Before(end):
			return srv, lateDrain(what, srv, limit, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(drainLook, max(time.Until(end), time.Millisecond))):
		}
	}
}

func lateDrain(what string, srv api.RealServer, limit time.Duration, err error) error {
	if err != nil {
		return fmt.Errorf("it is not known whether %s has drained within %s: %w", what, limit, err)
	}
	return fmt.Errorf("%s has not left the table within %s and drains on; it has %s", what, limit, openConnections(srv))
}
