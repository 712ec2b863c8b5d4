package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSConnectionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "List the connections",
		Long: "List the connections that the kernel knows, as \"ipvsadm -Lnc\" does, and those entries that bind clients to\n" +
			"their servers (persistence; their client has port 0). It needs no privilege.\n\n" +
			"With --json each connection is a document of its own, one a line. The output is written as it is read, and\n" +
			"needs no memory for large tables; but the kernel takes its time, which grows with the square of their size.\n" +
			"The table changes while it is read: a connection may be missed or come twice.",
		Args: cobra.NoArgs,
	}
	c := connections{form: ipvsadm.Form{}}
	flags := cmd.Flags()
	flags.StringVar(&c.filter.Protocol, "protocol", "", "only of this protocol: tcp, udp, sctp; fwmark: persistence entries of firewall marks")
	flags.StringVar(&c.client, "client", "", "only of clients in this network, such as 192.0.2.0/24 or 192.0.2.7")
	flags.StringVar(&c.service, "service", "", "only to this service, such as \"tcp 10.0.0.100:80\"")
	flags.StringVar(&c.server, "server", "", "only to this server, ADDRESS or ADDRESS:PORT")
	flags.StringVar(&c.filter.State, "state", "", "only in this state, such as ESTABLISHED")
	flags.BoolVar(&c.filter.Persistent, "persistent", false, "only entries that bind a client to its server")
	flags.BoolVar(&c.filter.Synced, "synced", false, "only those that another director told of")
	flags.BoolVar(&c.form.Origin, "origin", false, "show whether another director told of it (SYNC) or not (LOCAL)")
	flags.BoolVar(&c.form.Engine, "persistence-data", false, "show what a persistence engine knows, such as the call of a SIP phone")
	flags.IntVar(&c.form.Limit, "limit", 0, "stop after so many (0: none is too many)")
	flags.BoolVar(&c.form.JSON, "json", false, "print JSON, one document a line")
	cmd.MarkFlagsMutuallyExclusive("origin", "persistence-data")
	cmd.MarkFlagsMutuallyExclusive("synced", "persistence-data")
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions([]cobra.Completion{"tcp", "udp", "sctp", "fwmark"}, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag only
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.parse(); err != nil {
			return exitError{exitUsage, err}
		}
		return c.write(cmd)
	}
	return cmd
}

// connections are the flags of the command.
type connections struct {
	client, service, server string
	filter                  ipvsadm.Filter
	form                    ipvsadm.Form
}

// parse reads the filters.
func (c *connections) parse() (err error) {
	if c.form.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	if c.client != "" {
		if c.filter.Client, err = ipvsadm.ParseNetwork(c.client); err != nil {
			return fmt.Errorf("--client: %w", err)
		}
	}
	if c.service != "" {
		if c.filter.Service, err = ipvsadm.ParseKey(c.service); err != nil {
			return fmt.Errorf("--service: %w", err)
		}
	}
	if c.server != "" {
		var a netip.Addr
		if a, c.filter.ServerPort, err = ipvsadm.ParseServer(c.server); err != nil {
			return fmt.Errorf("--server: %w", err)
		}
		c.filter.Server = a
	}
	return c.filter.Check()
}

func (c *connections) write(cmd *cobra.Command) error {
	columns := ipvs.WithEngine
	if c.form.Origin || c.filter.Synced {
		columns = ipvs.WithOrigin
	}
	table, err := ipvs.OpenConnections(columns)
	if err != nil {
		return err
	}
	defer table.Close()
	bad := 0
	_, err = ipvsadm.WriteConnections(cmd.OutOrStdout(), ipvs.ReadConnections(table, columns), c.filter, c.form, func(err error) {
		bad++
		cmd.PrintErrln("baton:", err)
	})
	if err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	if bad > 0 {
		return exitError{code: exitFailed} // it was said
	}
	return nil
}
