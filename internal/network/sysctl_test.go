package network

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestEnsureSysctls(t *testing.T) {
	h, _ := host(t)
	want := []Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1", Why: "NAT"},
		{Key: "net.ipv4.no_such_setting", Value: "1", Why: "nothing"},
		{Key: "net.ipv4.tcp_rmem", Value: "4096 131072 6291456", Why: "fields"},
		PromoteSecondaries("eth0"),
	}
	h.Sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456")
	h.Sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")
	run := func(manage bool) (changes []SysctlChange) {
		t.Helper()
		must(t, h.Do(func() error {
			var errs []error
			changes, errs = EnsureSysctls(want, manage)
			if len(errs) != 1 || !errors.Is(errs[0], fs.ErrNotExist) ||
				!strings.Contains(errs[0].Error(), "no_such_setting") || !strings.Contains(errs[0].Error(), "nothing") {
				t.Errorf("errors %v", errs)
			}
			return nil
		}))
		return changes
	}
	for _, manage := range []bool{false, true} {
		changes := run(manage)
		if len(changes) != 2 || changes[0].Key != "net.ipv4.ip_forward" || changes[0].Old != "0" ||
			changes[0].Value != "1" || changes[0].Changed != manage || changes[1].Changed != manage {
			t.Errorf("manage %v: %+v", manage, changes)
		}
	}
	if changes := run(true); len(changes) != 0 {
		t.Errorf("done already, and yet %+v", changes)
	}
	must(t, h.Do(func() error {
		v, err := ReadSysctl("net.ipv4.tcp_rmem")
		if v != "4096 131072 6291456" {
			t.Errorf("tcp_rmem is %q", v)
		}
		return err
	}))
}

func TestSysctlOfAnInterfaceWithADot(t *testing.T) {
	h, _ := host(t)
	add := netlink.NewLinkAttrs()
	add.Name = "eth0.100"
	must(t, h.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: add}))
	must(t, h.Do(func() error {
		for _, key := range []string{"net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"} {
			if v, err := ReadSysctl(key); err != nil || v != "0" {
				t.Errorf("%s is %q, %v", key, v, err)
			}
		}
		return nil
	}))
}

func TestSysctlKeyCannotLeave(t *testing.T) {
	for _, key := range []string{"", "../etc/passwd", "/etc/passwd", "net/../../../etc/passwd"} {
		if p, err := sysctlPath(key); err == nil {
			t.Errorf("%q is the file %s", key, p)
		}
	}
}
