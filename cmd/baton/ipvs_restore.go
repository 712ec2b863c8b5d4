package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"baton/internal/api"
	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSRestoreCommand(dial func() *api.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "Carry rules out",
		Long: "Carry rules out that \"baton ipvs save\" or \"ipvsadm -S\" printed, or that were written by hand, one command of\n" +
			"ipvsadm a line, from a file or from standard input.\n\n" +
			"All rules are checked before anything is changed; every mistake is reported with its line and column, and the\n" +
			"exit code is 2. Then those that the kernel refuses are reported, the others are carried out, and the exit code is 1.\n\n" +
			"By default the rules are carried out upon what the table holds, as \"ipvsadm -R\" does: a service that is there\n" +
			"already is a failure. With --flush the table becomes what the rules say, and only differences are written: what\n" +
			"they do not name goes, and a service that stays as it is keeps its connections and counters.",
		Args: cobra.MaximumNArgs(1),
	}
	flush := cmd.Flags().Bool("flush", false, "make the table what the rules say, and remove what they do not name")
	check := cmd.Flags().Bool("check", false, "check the rules and change nothing; needs no privilege")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rules, err := readRules(cmd, args, *flush)
		var mistakes ipvsadm.Mistakes
		if errors.As(err, &mistakes) {
			return printMistakes(cmd, mistakes, *asJSON)
		}
		if err != nil {
			return err
		}
		var done ipvsadm.Restored
		if !*check {
			if done, err = restore(cmd, rules, *flush); err != nil {
				return err
			}
			notice(cmd, dial, func(s api.Status) []string { return undoesRules(s, ipvsadm.Touches(rules), *flush) })
		}
		return printRestored(cmd, done, *asJSON)
	}
	return cmd
}

// readRules reads rules and checks them.
func readRules(cmd *cobra.Command, args []string, whole bool) ([]ipvsadm.Rule, error) {
	in := cmd.InOrStdin()
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("read the rules: %w", err)
		}
		defer f.Close()
		in = f
	}
	rules, err := ipvsadm.Parse(cmd.Context(), in, ipvsadm.Options{})
	switch {
	case err != nil:
		return nil, err
	case whole:
		_, err = ipvsadm.Table(rules)
	default:
		err = ipvsadm.Check(rules)
	}
	return rules, err
}

func restore(cmd *cobra.Command, rules []ipvsadm.Rule, flush bool) (done ipvsadm.Restored, err error) {
	err = withKernel(cmd.Context(), func(k *ipvs.Kernel) (err error) {
		if flush {
			done, err = ipvsadm.Replace(cmd.Context(), k, rules)
			return err
		}
		done = ipvsadm.Add(cmd.Context(), k, rules)
		return nil
	})
	return done, err
}

// undoesRules says what a daemon undoes of rules.
func undoesRules(s api.Status, t ipvsadm.Touched, flush bool) []string {
	notes := s.UndoesServices(t.Keys, t.All || flush)
	if t.Timeouts {
		notes = append(notes, s.UndoesTimeouts()...)
	}
	if t.Daemons {
		notes = append(notes, s.UndoesSync()...)
	}
	return notes
}

func printMistakes(cmd *cobra.Command, mistakes ipvsadm.Mistakes, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd, mistakes.Document()); err != nil {
			return err
		}
		return exitError{code: exitUsage}
	}
	cmd.PrintErrln(mistakes)
	return exitError{exitUsage, fmt.Errorf("the rules have %s, so nothing was changed", plural(len(mistakes), "mistake"))}
}

func printRestored(cmd *cobra.Command, done ipvsadm.Restored, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd, done.Document()); err != nil {
			return err
		}
	} else {
		for _, f := range done.Failures {
			cmd.PrintErrln(f)
		}
	}
	switch {
	case len(done.Failures) == 0:
		return nil
	case asJSON:
		return exitError{code: exitFailed}
	}
	return fmt.Errorf("%s failed; what could be done was done", plural(len(done.Failures), "rule"))
}
