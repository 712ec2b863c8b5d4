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
	set := m.Set(t.Context(), "web", state(0, both))
	release := m.Set(t.Context(), "old", State{})
	must(t, unix.Capset(&header, &all[0]))

	for name, err := range map[string]error{"setting": set, "releasing": release} {
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "run baton as root, or give it CAP_NET_ADMIN") {
			t.Errorf("%s without privileges: %v", name, err)
		}
	}
	wantOnHost(t, h, "10.0.0.200/24")
	// What could not be released is still ours to release.
	must(t, m.Set(t.Context(), "old", State{}))
	wantOnHost(t, h, "")
}
