package network

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Without privileges nothing changes, and the error says how to get them.
func TestWithoutPrivileges(t *testing.T) {
	h, m := host(t)
	must(t, m.Set(t.Context(), "old", state(0, "10.0.0.200/24")))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	must(t, unix.Capget(&header, &all[0]))
	fewer := all
	fewer[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	must(t, unix.Capset(&header, &fewer[0]))
	everything := full(web(false, true), someRoutes, someRules)
	everything.Addresses = append(everything.Addresses, state(0, both).Addresses...)
	set := m.Set(t.Context(), "web", everything)
	_, sweep := m.Sweep(t.Context())
	release := m.Set(t.Context(), "old", State{})
	must(t, unix.Capset(&header, &all[0]))

	for name, err := range map[string]error{"setting": set, "releasing": release} {
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "run baton as root, or give it CAP_NET_ADMIN") {
			t.Errorf("%s without privileges: %v", name, err)
		}
	}
	if n := strings.Count(set.Error(), "CAP_NET_ADMIN"); n < 1+len(strings.Fields(both))+len(someRules) {
		t.Errorf("only %d things are reported: %v", n, set)
	}
	must(t, sweep) // there was nothing to sweep
	wantOnHost(t, h, "10.0.0.200/24")
	wantList(t, "routes", routesOf(t, h, true))
	wantList(t, "rules", rulesOf(t, h, true))
	if _, err := h.Netlink().LinkByName("v4.51.eth0"); err == nil {
		t.Error("the interface was made")
	}
	// What could not be released is still ours to release.
	must(t, m.Set(t.Context(), "old", State{}))
	wantOnHost(t, h, "")
}
