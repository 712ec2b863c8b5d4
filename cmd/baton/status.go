package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

func newStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show routers, services and servers",
		Long: "Show routers, services and servers; what needs attention comes first.\n\n" +
			"\"baton explain\" says why something is as it is, and \"baton events\" how it came to be.",
		Args: cobra.NoArgs,
	}
	dial, asJSON := addSocket(cmd), addJSON(cmd)
	watch := cmd.Flags().BoolP("watch", "w", false, "show it again and again, until interrupted")
	every := cmd.Flags().Duration("interval", time.Second, "time between two looks with --watch")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := dial()
		defer c.Close()
		if *watch {
			return watchStatus(cmd, c, max(*every, 100*time.Millisecond), *asJSON)
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd, s)
		}
		return printText(cmd, s.Text(colored(cmd)))
	}
	return cmd
}

// watchStatus shows the status until it is interrupted. A daemon that is gone
// once it was there is waited for.
func watchStatus(cmd *cobra.Command, c *api.Client, every time.Duration, asJSON bool) error {
	ctx, stop := withSignals(cmd.Context())
	defer stop()
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	screen := !asJSON && terminal(cmd)
	if screen {
		defer func() { _ = printText(cmd, "\x1b[?7h\x1b[?25h") }() // as it was found
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := showStatus(cmd, s, err, screen, asJSON); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if s, err = c.Status(ctx); ctx.Err() != nil {
			return nil
		}
	}
}

func showStatus(cmd *cobra.Command, s api.Status, failed error, screen, asJSON bool) error {
	switch {
	case failed != nil && screen:
		return printText(cmd, refresh(time.Now().Format(time.DateTime)+"  "+failed.Error()+"\n"))
	case failed != nil:
		cmd.PrintErrln("baton:", failed)
		return nil
	case asJSON:
		return printLine(cmd, s)
	case screen:
		return printText(cmd, refresh(s.Text(colored(cmd))))
	}
	return printText(cmd, s.Text(false)+"\n")
}

// refresh replaces what is on the screen without a flicker: from the top, each
// line cleared to its end, long lines cut by the terminal, the cursor hidden.
func refresh(page string) string {
	const begin, clearLine, clearRest = "\x1b[?25l\x1b[?7l\x1b[H", "\x1b[K\n", "\x1b[J"
	return fmt.Sprint(begin, strings.ReplaceAll(page, "\n", clearLine), clearRest)
}

// withSignals ends a context with the first interrupt.
func withSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
