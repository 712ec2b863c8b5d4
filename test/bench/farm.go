package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"baton/internal/pool"
)

// farm is a table to be kept in the kernel: services with as many servers each.
type farm struct {
	services int
	heavy    bool // the first server has weight 2 and not 1
	moved    bool // the first server of each service, a tenth of all, has another address

	trusted  bool          // servers are used before their first check
	interval time.Duration // of the checks
}

func (f farm) servers() int { return f.services * serversPerService }

// movedNet begins the addresses of the servers that replace others.
const movedNet = "10.77."

// server is the address and weight of one server.
func (f farm) server(service, i int) (address string, weight int) {
	address, weight = server(service*serversPerService+i), 1
	if i == 0 && f.moved {
		address = strings.Replace(address, "10.66.", movedNet, 1)
	}
	if i == 0 && service == 0 && f.heavy {
		weight = 2
	}
	return address, weight
}

func (f farm) port(service int) int { return 10000 + service }

// table is what the kernel shall have.
func (f farm) table() pool.Table {
	t := make(pool.Table, f.services)
	for s := range t {
		at := netip.AddrPortFrom(netip.MustParseAddr(vip), uint16(f.port(s)))
		v := pool.VirtualService{Key: pool.KeyOf(pool.TCP, at), Scheduler: "rr", PersistencePrefix: 32}
		for i := range serversPerService {
			address, weight := f.server(s, i)
			v.Servers = append(v.Servers, pool.RealServer{
				Address: netip.MustParseAddr(address), Port: serverPort, Weight: uint32(weight),
			})
		}
		t[s] = v
	}
	t.Sort()
	return t
}

// rules are the table in the words of ipvsadm.
func (f farm) rules() string {
	var t strings.Builder
	for s := range f.services {
		fmt.Fprintf(&t, "-A -t %s:%d -s rr\n", vip, f.port(s))
		for i := range serversPerService {
			address, weight := f.server(s, i)
			fmt.Fprintf(&t, "-a -t %s:%d -r %s:%d -m -w %d\n", vip, f.port(s), address, serverPort, weight)
		}
	}
	return t.String()
}

// batonFile is the table as a configuration of baton.
func (f farm) batonFile(dir string) string {
	admit := "checked"
	if f.trusted {
		admit = "at-once"
	}
	var t strings.Builder
	fmt.Fprintf(&t, "node: a\nstate_dir: %s/state\napi: {socket: %s}\n", dir, baton{}.socket(dir))
	fmt.Fprintf(&t, "defaults:\n  check: {interval: %s, timeout: %s}\nservices:\n", f.interval, checkTimeout)
	for s := range f.services {
		fmt.Fprintf(&t, "  - name: s%d\n    address: %s:%d\n    scheduler: rr\n    admit: %s\n    check: {tcp: {}}\n    servers:\n",
			s, vip, f.port(s), admit)
		for i := range serversPerService {
			address, weight := f.server(s, i)
			if weight == 1 {
				fmt.Fprintf(&t, "      - %s:%d\n", address, serverPort)
			} else {
				fmt.Fprintf(&t, "      - {address: %s:%d, weight: %d}\n", address, serverPort, weight)
			}
		}
	}
	return t.String()
}

// keepalivedFile is the table as a configuration of keepalived. With "alpha" it
// takes servers for dead until they are checked.
func (f farm) keepalivedFile() string {
	alpha := "\talpha\n"
	if f.trusted {
		alpha = ""
	}
	var t strings.Builder
	t.WriteString("global_defs {\n\trouter_id a\n}\n")
	for s := range f.services {
		fmt.Fprintf(&t, "virtual_server %s %d {\n\tdelay_loop %g\n\tlvs_sched rr\n\tlvs_method NAT\n\tprotocol TCP\n%s",
			vip, f.port(s), f.interval.Seconds(), alpha)
		for i := range serversPerService {
			address, weight := f.server(s, i)
			fmt.Fprintf(&t, "\treal_server %s %d {\n\t\tweight %d\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout %g\n\t\t}\n\t}\n",
				address, serverPort, weight, checkTimeout.Seconds())
		}
		t.WriteString("}\n")
	}
	return t.String()
}
