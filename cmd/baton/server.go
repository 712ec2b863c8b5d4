package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"baton/internal/api"
	"baton/internal/balancer"
)

func newServerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Drain, disable, enable or weigh a server of a service",
		Long: "Override what the configuration and the checks say of a server: for maintenance, or to give it more or\n" +
			"less to do. It is in force when the command returns, and it is kept: over reloads, restarts and upgrades,\n" +
			"until it is taken back. \"baton status\" and \"baton explain server\" show it, with who wanted it and why.\n\n" +
			"ADDRESS is the server's address and port, its address alone where that is unique, or its name. With\n" +
			"--all-services it is a host: the servers of all services at this address, or of this name.\n\n" +
			"Each director has overrides of its own. Of a pair, say the same to both, or the server is back in service\n" +
			"when the addresses move.\n\n" +
			"An override belongs to the name of the service and the address and port of the server. It waits for a\n" +
			"server that leaves the configuration for seven days; \"baton status\" lists such overrides.",
		Args: func(*cobra.Command, []string) error {
			return errors.New("say what to do: drain, disable, enable, weight or reset")
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // never reached: Args
	}
	dial := addSocket(cmd)
	cmd.AddCommand(newDrainCommand(dial))
	cmd.AddCommand(override(dial, &cobra.Command{
		Use:   "disable {SERVICE | --all-services} ADDRESS",
		Short: "Take a server out at once; its connections are cut",
		Long: "Take a server out of the kernel's table at once. The connections that it has are cut: with the sysctl\n" +
			"net.ipv4.vs.expire_nodest_conn they are reset, without it their packets are dropped. \"baton server drain\"\n" +
			"lets them end. It does not count for the quorum. \"enable\" takes this back.",
	}, 2, func([]string) (api.ServerPatch, error) { return api.ServerPatch{State: api.ServerDisabled}, nil }))
	cmd.AddCommand(override(dial, &cobra.Command{
		Use:   "enable {SERVICE | --all-services} ADDRESS",
		Short: "Take back drain or disable: the checks decide again",
		Long: "Take back \"drain\" or \"disable\": the server serves again, at once if its checks pass, and else when they do.\n" +
			"A weight that was set stays; \"reset\" takes back that, too. A file in maintenance_dir that is named like the\n" +
			"server has to be removed by itself.",
	}, 2, func([]string) (api.ServerPatch, error) { return api.ServerPatch{State: api.ServerEnabled}, nil }))
	cmd.AddCommand(override(dial, &cobra.Command{
		Use:   "weight {SERVICE | --all-services} ADDRESS N",
		Short: "Give a server another weight than the configured one",
		Long: "Give a server another weight than the configured one, from 0 to 2147483647, until \"reset\". It counts for the\n" +
			"quorum. With 0 the server gets no new connections and stays in the table.",
	}, 3, func(args []string) (api.ServerPatch, error) {
		n, err := strconv.ParseUint(args[len(args)-1], 10, 32)
		if err != nil || n > balancer.MaxWeight {
			return api.ServerPatch{}, fmt.Errorf("%q is no weight; it may be from 0 to %d", args[len(args)-1], balancer.MaxWeight)
		}
		weight := uint32(n)
		return api.ServerPatch{Weight: &weight}, nil
	}))
	cmd.AddCommand(override(dial, &cobra.Command{
		Use:   "reset {SERVICE | --all-services} ADDRESS",
		Short: "Take back everything: drain, disable and the weight",
		Long: "Take back everything that was said of a server with \"baton server\": the configuration and the checks decide\n" +
			"again. It may be a server that is no longer there.",
	}, 2, func([]string) (api.ServerPatch, error) { return api.ServerPatch{Reset: true}, nil }))
	return cmd
}

// override completes a command that changes what is wanted of a server, or of those of
// all services at one address.
func override(dial func() *api.Client, cmd *cobra.Command, args int, patch func(args []string) (api.ServerPatch, error)) *cobra.Command {
	asJSON, reason, all := addJSON(cmd), addReason(cmd), addAllServices(cmd)
	cmd.Args = overrideArgs(all, args, patch)
	cmd.ValidArgsFunction = offerTargets(dial, all)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := dial()
		defer c.Close()
		p, err := patch(args)
		if err != nil {
			return err
		}
		p.Reason = *reason
		done, err := overrideEach(cmd.Context(), c, args, *all, p)
		return errors.Join(printOverridden(cmd, done, *asJSON, *all), err)
	}
	return cmd
}

func addReason(cmd *cobra.Command) *string {
	return cmd.Flags().String("reason", "", "one line for other operators: `TEXT` is shown wherever the override is")
}

// printOverridden says how the servers are now. What else there is to know goes to
// standard error.
func printOverridden(cmd *cobra.Command, done []api.Overridden, asJSON, all bool) error {
	if asJSON {
		return printOverriddenJSON(cmd, done, all)
	}
	said := make(map[string]bool)
	for _, out := range done {
		for _, note := range out.Notes {
			if !said[note] { // of all services it may be the same
				cmd.PrintErrln("note:", note)
			}
			said[note] = true
		}
		if err := printText(cmd, describeOverridden(out)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// overriddenDoc is the document for servers of all services.
type overriddenDoc struct {
	Servers []api.Overridden `json:"servers"`
}

func printOverriddenJSON(cmd *cobra.Command, done []api.Overridden, all bool) error {
	switch {
	case len(done) == 0:
		return nil
	case all:
		return printJSON(cmd, overriddenDoc{done})
	}
	return printJSON(cmd, done[0])
}

func describeOverridden(out api.Overridden) string {
	srv := out.Server
	text := fmt.Sprintf("server %s of service %s", srv.Address, out.Service)
	switch srv.State {
	case "":
		return text + " is in no service; what was wanted of it is forgotten"
	case "draining":
		if srv.Drained {
			return text + " is draining: it has no connections"
		}
		return fmt.Sprintf("%s is draining: it has %s", text, openConnections(srv))
	case "up":
		return fmt.Sprintf("%s is up, with weight %d", text, srv.Weight)
	}
	return fmt.Sprintf("%s is %s", text, srv.State)
}

func openConnections(srv api.RealServer) string {
	return fmt.Sprintf("%d active and %d inactive connections", srv.Active, srv.Inactive)
}
