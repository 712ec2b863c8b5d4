package ipvs

import (
	"context"
	"fmt"
	"os"

	"baton/internal/pool"
)

// ftpModule makes the kernel translate the addresses that FTP sends inside of its
// control connection, and expect the data connections. Without it a service with
// NAT takes the control connection, and every transfer fails. It watches port 21
// of every service (net/netfilter/ipvs/ip_vs_ftp.c), brings nf_nat and
// nf_conntrack with it, and switches connection tracking on for this one service
// (ip_vs_register_conntrack). With DR and TUN the client sees the server's own
// words, in which the VIP stands, and nothing has to be translated.
const (
	ftpModule = "ip_vs_ftp"
	ftpPort   = 21
)

// Lacking makes sure of what services of the table need beside the table itself,
// and returns what is missing, by service: one that the kernel takes and whose
// clients still are not served, each with a sentence that says why and what to do.
// What could not be loaded is tried again after a minute.
func (k *Kernel) Lacking(ctx context.Context, t pool.Table) map[pool.Key]error {
	var out map[pool.Key]error
	for i := range t {
		if !needsFTP(&t[i]) {
			continue
		}
		if k.modules.there(ftpModule) {
			return nil
		}
		_, err := k.modules.sometimes(ctx, ftpModule)
		if err == nil {
			return nil
		}
		if out == nil {
			out = make(map[pool.Key]error)
		}
		out[t[i].Key] = fmt.Errorf("FTP transfers fail with forward: nat, because the kernel's helper is not loaded: modprobe %s (%w)", ftpModule, err)
	}
	return out
}

// needsFTP reports whether the service is FTP with NAT.
func needsFTP(v *pool.VirtualService) bool {
	if v.FWMark != 0 || v.Protocol != pool.TCP || v.Port != ftpPort {
		return false
	}
	for _, s := range v.Servers {
		if s.Forward == pool.NAT {
			return true
		}
	}
	return false
}

// moduleThere reports whether the kernel has a module that takes parameters,
// loaded or built in.
func moduleThere(name string) bool {
	_, err := os.Stat("/sys/module/" + name)
	return err == nil
}
