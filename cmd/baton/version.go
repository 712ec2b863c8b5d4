package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// built says what this program is; it is the document of "baton version --json".
type built struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, as far as the build knew it
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Show the version of this program", Args: cobra.NoArgs}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b := built{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			b.Revision = revision(info.Settings)
		}
		if *asJSON {
			return printJSON(cmd, b)
		}
		text := fmt.Sprintf("baton %s (%s, %s", b.Version, b.Go, b.Platform)
		if b.Revision != "" {
			text += ", " + b.Revision
		}
		return printText(cmd, text+")\n")
	}
	return cmd
}

func revision(settings []debug.BuildSetting) string {
	id, modified := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			id = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if id == "" {
		return ""
	}
	return id + modified
}
