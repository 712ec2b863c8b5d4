// Command baton is a high-availability load balancer for Linux: VRRP decides
// which director has the virtual addresses, the kernel's IPVS balances, and
// checks decide between which servers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

// version is set by the linker: -X main.version=….
var version = "dev"

// The exit codes.
const (
	exitFailed      = 1 // what was asked for was not done
	exitUsage       = 2 // wrong usage, or an invalid configuration
	exitUnreachable = 3 // the daemon cannot be reached
)

// exitError is an error that knows its exit code. Without an inner error
// everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs a command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := false // the command line was understood
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		// cobra does this only after it.
		err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
		began = err == nil
		return err
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !began {
		// Nothing can be done about a standard error that cannot be written.
		_, _ = fmt.Fprintf(stderr, "baton: %v\nSee \"%s --help\".\n", err, cmd.CommandPath())
		return exitUsage
	}
	return report(stderr, err)
}

// report prints an error and returns the exit code for it.
func report(stderr io.Writer, err error) int {
	var exit exitError
	var problem *api.Problem
	code := exitFailed
	switch {
	case errors.As(err, &exit):
		code = exit.code
		if exit.err == nil {
			return code
		}
	case errors.Is(err, api.ErrUnreachable):
		code = exitUnreachable
	case errors.As(err, &problem) && problem.Type == api.ProblemInvalidConfig:
		code = exitUsage
		for _, m := range problem.Mistakes {
			_, _ = fmt.Fprintln(stderr, m)
		}
	}
	_, _ = fmt.Fprintln(stderr, "baton:", err)
	return code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "baton",
		Short: "High-availability load balancer",
		Long: "baton shares virtual addresses between directors (VRRP), balances the connections to them\n" +
			"in the kernel (IPVS), and checks the servers.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage or invalid configuration, 3 the daemon cannot be reached.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(
		&cobra.Group{ID: "see", Title: "To see what is going on:"},
		&cobra.Group{ID: "act", Title: "To change it:"},
		&cobra.Group{ID: "kernel", Title: "The kernel's table, without the daemon:"},
		&cobra.Group{ID: "daemon", Title: "The daemon and its configuration:"},
		&cobra.Group{ID: "server", Title: "On a real server:"},
	)
	in := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	in("see", newStatusCommand(), newExplainCommand(), newEventsCommand())
	in("act", newFailoverCommand(), newResumeCommand(), newServerCommand(), newReloadCommand())
	in("kernel", newIPVSCommand())
	in("daemon", newRunCommand(), newCheckCommand())
	in("server", newRealserverCommand())
	root.AddCommand(newDirectorCommand(), newVersionCommand(), newManCommand())
	return root
}
