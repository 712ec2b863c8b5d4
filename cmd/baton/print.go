package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// addJSON adds the flag --json.
func addJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// printText writes to standard output.
func printText(cmd *cobra.Command, text string) error {
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// printJSON writes a document for people and programs.
func printJSON(cmd *cobra.Command, doc any) error { return encodeJSON(cmd, doc, "  ") }

// printLine writes a document as one line, for a series of them.
func printLine(cmd *cobra.Command, doc any) error { return encodeJSON(cmd, doc, "") }

func encodeJSON(cmd *cobra.Command, doc any, indent string) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// colored reports whether the output may have colours: on a terminal, unless
// NO_COLOR (no-color.org) or TERM says otherwise.
func colored(cmd *cobra.Command) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(cmd)
}

// terminal reports whether standard output is one.
func terminal(cmd *cobra.Command) bool {
	f, ok := cmd.OutOrStdout().(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
