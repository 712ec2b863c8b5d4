package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"baton/internal/realserver"
)

func newRealserverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "Prepare a real server for DR and TUN",
		Long: "Prepare this host as a real server, and take that back: the VIPs on lo (dr) or on the interface that\n" +
			"unwraps packets (tun), and the kernel settings that keep it from answering for them on the network.\n" +
			"It needs neither the daemon nor a configuration file. With nat a real server needs none of this.",
	}
	cmd.AddCommand(newRealserverUpCommand(), newRealserverDownCommand(), newRealserverStatusCommand())
	return cmd
}

// realserverFlags are what describes VIPs on a real server.
type realserverFlags struct {
	vips       *[]string
	forward    *string
	tunnel     *string
	outer      *string
	device     *string
	state      *string
	port       *uint16
	interfaces *[]string
}

func addRealserverFlags(cmd *cobra.Command) realserverFlags {
	f := cmd.Flags()
	return realserverFlags{
		vips:       f.StringSlice("vip", nil, "a VIP; several by commas, by repeating it, or as further `addresses`"),
		forward:    f.String("forward", "", "how the directors forward: dr or tun"),
		tunnel:     f.String("tunnel", "", "what tun wraps packets in: ipip (default), gue or gre"),
		outer:      f.String("outer", "", "`family` of the real server's address in the directors' configuration: inet or inet6 (default: the VIP's)"),
		port:       f.Uint16("port", 0, "UDP port that directors send GUE to"),
		device:     f.String("device", "", "tunnel `interface` that has the VIP instead of the usual one"),
		interfaces: f.StringSlice("interface", nil, "`interface` that must not answer for the VIPs; several as with --vip (default: all)"),
		state:      f.String("state", realserver.DefaultState, "`file` that remembers what has to be restored"),
	}
}

// specs reads the flags; further VIPs are arguments.
func (f realserverFlags) specs(args []string) ([]realserver.Spec, error) {
	var out []realserver.Spec
	var errs []error
	seen := map[netip.Addr]bool{}
	for _, text := range append(*f.vips, strings.FieldsFunc(strings.Join(args, ","), func(r rune) bool { return r == ',' })...) {
		vip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is no IP address: a VIP is given without a prefix length or port", text))
			continue
		}
		if seen[vip.Unmap()] {
			continue
		}
		seen[vip.Unmap()] = true
		out = append(out, realserver.Spec{
			VIP: vip, Forward: realserver.Forward(*f.forward), Tunnel: realserver.Tunnel(*f.tunnel),
			Outer: realserver.Family(*f.outer), Port: *f.port, Device: *f.device, Interfaces: *f.interfaces,
		})
	}
	return out, errors.Join(errs...)
}

// completeSpecs checks specs and fills them in.
func completeSpecs(specs []realserver.Spec) ([]realserver.Spec, error) {
	var errs []error
	for i, s := range specs {
		c, err := s.Complete()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.VIP, err))
			continue
		}
		specs[i] = c
	}
	return specs, errors.Join(errs...)
}

// withServer runs f with this host.
func (f realserverFlags) withServer(do func(*realserver.Server) error) error {
	k, err := realserver.OpenHost()
	if err != nil {
		return err
	}
	defer k.Close()
	return do(realserver.New(k, realserver.NewStore(*f.state)))
}

func newRealserverUpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up --vip IP… --forward {dr | tun}",
		Short: "Give this host the VIPs of directors",
		Long: "Give this host VIPs, without letting it answer for them on the network. Done twice it changes nothing\n" +
			"the second time; VIPs can be added later. What was changed is remembered, and \"down\" restores it.\n" +
			"It lasts until the next boot: the unit baton-realserver.service does it again then.",
	}
	f, asJSON := addRealserverFlags(cmd), addJSON(cmd)
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		specs, err := f.specs(args)
		if err == nil {
			specs, err = completeSpecs(specs)
		}
		if err == nil && len(specs) == 0 {
			err = errors.New("name a VIP: --vip 10.0.0.100")
		}
		if err != nil {
			return exitError{exitUsage, err}
		}
		return f.withServer(func(s *realserver.Server) error {
			r, err := s.Up(cmd.Context(), specs, *dryRun)
			return errors.Join(printResult(cmd, r, err, *asJSON), err)
		})
	}
	return cmd
}

func newRealserverDownCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down {--vip IP… | --all}",
		Short: "Take VIPs back, and restore what was changed for them",
		Long: "Take VIPs back, and restore what \"up\" changed for them. What another VIP still needs stays, and so does\n" +
			"what somebody else has changed since: that is reported. Kernel modules stay loaded.",
	}
	f, asJSON := addRealserverFlags(cmd), addJSON(cmd)
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	all := cmd.Flags().Bool("all", false, "all VIPs that are set up here")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		specs, err := f.specs(args)
		if err == nil && (len(specs) == 0) != *all {
			err = errors.New("name VIPs (--vip 10.0.0.100), or say --all")
		}
		if err != nil {
			return exitError{exitUsage, err}
		}
		return f.withServer(func(s *realserver.Server) error {
			r, err := s.Down(cmd.Context(), realserver.VIPs(specs), *all, *dryRun)
			return errors.Join(printResult(cmd, r, err, *asJSON), err)
		})
	}
	return cmd
}

// printResult says what was done; of a failure, what was done all the same.
func printResult(cmd *cobra.Command, r realserver.Result, failed error, asJSON bool) error {
	switch {
	case asJSON:
		return printJSON(cmd, r)
	case failed != nil && len(r.Steps)+len(r.Notes) == 0:
		return nil
	}
	return printText(cmd, r.Text())
}

func newRealserverStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [--vip IP…]",
		Short: "Show whether this host is right as a real server",
		Long: "Look at what the kernel has, and say what is missing for VIPs; without --vip, for those that are set up here.\n" +
			"The exit code is 0 if everything is right, and 1 if something is not, or nothing is set up.",
	}
	f, asJSON := addRealserverFlags(cmd), addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		specs, err := f.specs(args)
		if err == nil && *f.forward != "" {
			specs, err = completeSpecs(specs)
		}
		if err != nil {
			return exitError{exitUsage, err}
		}
		return f.withServer(func(s *realserver.Server) error {
			st, err := s.Status(specs)
			if err != nil {
				return err
			}
			if *asJSON {
				err = printJSON(cmd, st)
			} else {
				err = printText(cmd, st.Text())
			}
			if err == nil && !st.OK {
				err = exitError{code: exitFailed}
			}
			return err
		})
	}
	return cmd
}
