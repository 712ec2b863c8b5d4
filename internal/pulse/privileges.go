package pulse

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Permitted returns an error that says what is missing when this process may
// not do what a director does: change addresses and the virtual server table,
// and send raw packets.
func Permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("ask for the capabilities of this process: %w", err)
	}
	var missing []string
	for _, c := range []struct {
		name string
		bit  uint
	}{{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, {"CAP_NET_RAW", unix.CAP_NET_RAW}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("a director changes addresses and sends raw packets, and this process lacks %s: "+
		"run it as root (sudo baton run), or with AmbientCapabilities= under systemd", strings.Join(missing, " and "))
}
