package failover

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/internal/vrrp"
	"baton/internal/wire"
	"baton/test/lab"
)

// baton may start before its interface exists: it says what it waits for, and
// goes on by itself.
func TestInterfaceComesLater(t *testing.T) {
	p := build(t)
	late := p.director("late")
	late.configure(router(priorityA, fast, ""))
	late.start()
	lab.Eventually(t, 5*time.Second, func() error {
		out, err := late.command("status")
		if err == nil && !strings.Contains(out, "router web: fault: interface eth0: no interface of that name exists here; it is waited for") {
			err = fmt.Errorf("status does not say what is missing:\n%s", out)
		}
		return err
	})
	held := watch(t, late.host)
	began := time.Now()
	late.host.Connect(p.lan, "eth0", "10.0.0.3/24")
	held.await(late.host, vip, true, began, 3*time.Second)
	lab.Eventually(t, time.Second, func() error { return late.is("master") })

	// And it may go, and come back.
	gone := time.Now()
	eth0, err := late.host.Netlink().LinkByName("eth0")
	must(t, err)
	must(t, late.host.Netlink().LinkDel(eth0))
	lab.Eventually(t, 2*time.Second, func() error { return late.is("fault") })
	held.await(late.host, vip, false, gone, 2*time.Second)
	late.host.Connect(p.lan, "eth0", "10.0.0.3/24")
	held.await(late.host, vip, true, gone, 3*time.Second)
	lab.Eventually(t, time.Second, func() error { return late.is("master") })
}

// Somebody else uses our id for other addresses: status, explain and the log
// name him and say what to do.
func TestIDTakenByAStranger(t *testing.T) {
	p := build(t)
	p.a.configure(router(priorityA, fast, ""))
	p.a.start()
	lab.Eventually(t, 5*time.Second, func() error { return p.a.is("master") })

	var conn *wire.VRRPConn
	must(t, p.client.Do(func() (err error) {
		conn, err = wire.OpenVRRP("eth0", wire.IPv4)
		return err
	}))
	defer conn.Close()
	source := netip.MustParseAddr("10.0.0.9")
	stranger := vrrp.Advert{VRID: 51, Priority: 50, Interval: fast, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.77")}}
	codec, err := vrrp.NewCodec(vrrp.CodecOptions{VRID: 51, Version: 3, Interval: fast})
	must(t, err)
	packet := codec.Append(nil, &stranger, source, vrrp.GroupIPv4, time.Now())
	want := "10.0.0.9 uses virtual router id 51 on eth0 for [10.0.0.77], this router has [10.0.0.100]: " +
		"make the configurations equal, or give one of them another id"
	lab.Eventually(t, 5*time.Second, func() error {
		must(t, conn.Send(packet, source, vrrp.GroupIPv4))
		for _, args := range [][]string{{"explain", "router", "web"}, {"status"}} {
			out, err := p.a.command(args...)
			if err != nil {
				return err
			}
			if !strings.Contains(out, want) {
				return fmt.Errorf("baton %s does not name the stranger:\n%s", strings.Join(args, " "), out)
			}
		}
		return nil
	})
	out, err := p.a.command("explain", "router", "web")
	if err != nil || !strings.Contains(out, "Any id from 1 to 255 that nobody else on this link uses will do.") {
		t.Errorf("explain gives no advice (%v):\n%s", err, out)
	}
	if log := p.a.proc.Output(); !strings.Contains(log, "10.0.0.9 uses virtual router id 51") {
		t.Errorf("the log does not name the stranger:\n%s", log)
	}
	must(t, p.a.is("master"))
}

// Without privileges baton ends with 1, and says what it lacks.
func TestNotRoot(t *testing.T) {
	p := build(t)
	p.a.configure(router(priorityA, fast, ""))
	// In a folder that everybody can reach, which the sources may not be.
	text, err := os.ReadFile(p.a.baton)
	must(t, err)
	must(t, os.Chmod(p.a.dir, 0o755))
	binary := filepath.Join(p.a.dir, "baton")
	must(t, os.WriteFile(binary, text, 0o755))
	must(t, os.Chmod(p.a.config, 0o644))
	out, err := p.a.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "run", "-c", p.a.config)
	if exitCode(err) != 1 {
		t.Errorf("exit: %v", err)
	}
	for _, want := range []string{"CAP_NET_ADMIN and CAP_NET_RAW", "run it as root (sudo baton run)"} {
		if !strings.Contains(out, want) {
			t.Errorf("the error does not say %q: %s", want, out)
		}
	}
}

// A broken configuration ends baton with 2, and all its mistakes are told.
func TestBrokenConfiguration(t *testing.T) {
	p := build(t)
	p.a.configure("  - {name: web, interface: eth0, id: 510, addresses: [10.0.0.100/24]}\n" +
		"  - {name: web, intrface: eth0, id: 52, addresses: [10.0.0.101]}\n")
	out, err := p.a.run(p.a.baton, "run", "-c", p.a.config)
	if exitCode(err) != 2 {
		t.Errorf("exit: %v", err)
	}
	for _, want := range []string{
		p.a.config + ":5:38: id: 510 is out of range",
		p.a.config + ":6:12: name: \"web\" is taken by another router",
		"unknown key \"intrface\" in router",
		"did you mean \"interface\"?",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
}

// run runs any command on the director's host to its end.
func (d *director) run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(20*time.Second))
	defer cancel()
	return d.host.Run(ctx, name, args...)
}
