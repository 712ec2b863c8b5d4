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
		Use:   "drain {SERVICE | --all-services} ADDRESS",
		Short: "Give a server no new connections; those that it has go on",
		Long: "Give a server no new connections, and let those that it has go on. Without connections, or when the service's\n" +
			"drain_timeout is over, it leaves the kernel's table. It does not count for the quorum. \"enable\" takes this back.\n\n" +
			"With --wait the command returns when the server has left the table, and fails when that takes longer.\n" +
			"What is left at a drain_timeout is cut. With the scheduler dh, where a server cannot stay without new\n" +
			"connections, its connections end at once.",
	}
	asJSON, reason, all := addJSON(cmd), addReason(cmd), addAllServices(cmd)
	wait := cmd.Flags().Duration("wait", 0, "return when it has no connections any more, and fail after `DURATION` (--wait alone: "+defaultWait+")")
	cmd.Flags().Lookup("wait").NoOptDefVal = defaultWait
	cmd.Args = overrideArgs(all, 2, nil)
	cmd.ValidArgsFunction = offerTargets(dial, all)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := dial()
		defer c.Close()
		done, failed := overrideEach(cmd.Context(), c, args, *all, api.ServerPatch{State: api.ServerDraining, Reason: *reason})
		if *wait <= 0 || !*asJSON {
			if err := printOverridden(cmd, done, *asJSON, *all); err != nil || *wait <= 0 {
				return errors.Join(err, failed)
			}
		}
		failed = errors.Join(failed, waitEach(cmd, c, done, *wait, *asJSON))
		if *asJSON {
			return errors.Join(printOverriddenJSON(cmd, done, *all), failed)
		}
		return failed
	}
	return cmd
}

// waitEach waits for the servers, all of them within the time, and renews what is
// known of them.
func waitEach(cmd *cobra.Command, c *api.Client, done []api.Overridden, limit time.Duration, quiet bool) error {
	began := time.Now()
	var errs []error
	for i := range done {
		srv, err := waitDrained(cmd.Context(), c, done[i], began, limit)
		done[i].Server = srv
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !quiet {
			errs = append(errs, printText(cmd, fmt.Sprintf("server %s of service %s has left the table after %s\n",
				srv.Address, done[i].Service, time.Since(began).Round(time.Second))))
		}
	}
	return errors.Join(errs...)
}

// waitDrained waits until a server that drains has left the table. A director that
// is restarted meanwhile is waited for.
func waitDrained(ctx context.Context, c *api.Client, out api.Overridden, began time.Time, limit time.Duration) (api.RealServer, error) {
	ctx, cancel := withSignals(ctx)
	defer cancel()
	end := began.Add(limit)
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
