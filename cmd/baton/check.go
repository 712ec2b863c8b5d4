package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"baton/internal/config"
)

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration file",
		Long: "Validate a configuration file and what it includes. All mistakes are reported in one run;\n" +
			"what is valid but questionable is a warning.\n" +
			"It needs no interface, no kernel, no daemon and no root, unless the file names keys that only root may read.",
		Args: cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "configuration file")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path, config.Options{})
		var mistakes config.Errors
		if err != nil && !errors.As(err, &mistakes) {
			return exitError{exitUsage, err}
		}
		if *asJSON {
			return printChecked(cmd, *path, cfg, mistakes)
		}
		if err != nil {
			for _, m := range mistakes {
				cmd.PrintErrln(m.Error())
			}
			return exitError{exitUsage, fmt.Errorf("%s is invalid: %s", *path, plural(len(mistakes), "mistake"))}
		}
		for _, w := range cfg.Warnings {
			cmd.PrintErrln("warning: " + w.String())
		}
		return printText(cmd, fmt.Sprintf("%s is valid: %s, %s; hash %s\n", *path,
			plural(len(cfg.Routers), "router"), plural(len(cfg.Balancer.Services), "service"), cfg.Hash))
	}
	return cmd
}

// checked is the document of "baton check --json".
type checked struct {
	Path     string           `json:"path"`
	Valid    bool             `json:"valid"`
	Hash     string           `json:"hash,omitempty"`
	Files    []string         `json:"files,omitempty"`
	Mistakes config.Errors    `json:"mistakes"`
	Warnings []config.Warning `json:"warnings"`
}

func printChecked(cmd *cobra.Command, path string, cfg *config.Config, mistakes config.Errors) error {
	doc := checked{Path: path, Valid: cfg != nil, Mistakes: mistakes, Warnings: []config.Warning{}}
	if cfg != nil {
		doc.Hash, doc.Files, doc.Mistakes = cfg.Hash, cfg.Files, config.Errors{}
		doc.Warnings = append(doc.Warnings, cfg.Warnings...)
	}
	if err := printJSON(cmd, doc); err != nil {
		return err
	}
	if !doc.Valid {
		return exitError{code: exitUsage}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
