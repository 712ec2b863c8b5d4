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

	each    int  // servers of a service; 0: serversPerService
	shared  bool // all services have the same servers
	victims int  // one more service, with so many servers of its own

	trusted  bool          // servers are used before their first check
	kind     string        // of the checks: tcp (or empty) or http
	interval time.Duration // of the checks
	timeout  time.Duration // 0: checkTimeout
	fast     time.Duration // between checks while one is failing, where a program has that; 0: interval
	fall     int           // failures in a row after which a server is down; 0: what the program has by default
}

// per is how many servers a service has.
func (f farm) per() int {
	if f.each > 0 {
		return f.each
	}
	return serversPerService
}

func (f farm) servers() int { return f.services*f.per() + f.victims }

// kernelServices is how many services the kernel has then.
func (f farm) kernelServices() int {
	if f.victims > 0 {
		return f.services + 1
	}
	return f.services
}

func (f farm) checkTimeout() time.Duration {
	if f.timeout > 0 {
		return f.timeout
	}
	return checkTimeout
}

// victimNet begins the addresses of the victims; nobody else listens on victimPort.
const (
	victimNet  = "10.78."
	victimPort = 8080
)

// movedNet begins the addresses of the servers that replace others.
const movedNet = "10.77."

// server is the address and weight of one server.
func (f farm) server(service, i int) (address string, weight int) {
	n := service*f.per() + i
	if f.shared {
		n = i
	}
	address, weight = server(n), 1
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
		for i := range f.per() {
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
		for i := range f.per() {
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
	fmt.Fprintf(&t, "defaults:\n  check: {interval: %s, timeout: %s%s}\nservices:\n", f.interval, f.checkTimeout(), f.keys())
	for s := range f.services {
		fmt.Fprintf(&t, "  - name: s%d\n    address: %s:%d\n    scheduler: rr\n    admit: %s\n    check: {%s: {}}\n    servers:\n",
			s, vip, f.port(s), admit, f.check())
		for i := range f.per() {
			address, weight := f.server(s, i)
			if weight == 1 {
				fmt.Fprintf(&t, "      - %s:%d\n", address, serverPort)
			} else {
				fmt.Fprintf(&t, "      - {address: %s:%d, weight: %d}\n", address, serverPort, weight)
			}
		}
	}
	if f.victims > 0 {
		fmt.Fprintf(&t, "  - name: victims\n    address: %s:%d\n    scheduler: rr\n    admit: %s\n    check: {%s: {}}\n    servers:\n",
			vip, f.port(f.services), admit, f.check())
	}
	for n := range f.victims {
		fmt.Fprintf(&t, "      - %s:%d\n", victim(n), victimPort)
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
	begin := func(service int) {
		fmt.Fprintf(&t, "virtual_server %s %d {\n\tdelay_loop %g\n\tlvs_sched rr\n\tlvs_method NAT\n\tprotocol TCP\n%s",
			vip, f.port(service), f.interval.Seconds(), alpha)
	}
	for s := range f.services {
		begin(s)
		for i := range f.per() {
			address, weight := f.server(s, i)
			fmt.Fprintf(&t, "\treal_server %s %d {\n\t\tweight %d\n%s\t}\n", address, serverPort, weight, f.keepalivedCheck())
		}
		t.WriteString("}\n")
	}
	if f.victims > 0 {
		begin(f.services)
		for n := range f.victims {
			fmt.Fprintf(&t, "\treal_server %s %d {\n\t\tweight 1\n%s\t}\n", victim(n), victimPort, f.keepalivedCheck())
		}
		t.WriteString("}\n")
	}
	return t.String()
}

// keepalivedCheck is the check of one server. keepalived counts the attempts after
// the first.
func (f farm) keepalivedCheck() string {
	retry := ""
	if f.fall > 0 {
		retry = fmt.Sprintf("\t\t\tretry %d\n\t\t\tdelay_before_retry %g\n", f.fall-1, f.interval.Seconds())
	}
	if f.check() == "http" {
		return fmt.Sprintf("\t\tHTTP_GET {\n\t\t\turl {\n\t\t\t\tpath /\n\t\t\t\tstatus_code 200\n\t\t\t}\n\t\t\tconnect_timeout %g\n%s\t\t}\n",
			f.checkTimeout().Seconds(), retry)
	}
	return fmt.Sprintf("\t\tTCP_CHECK {\n\t\t\tconnect_timeout %g\n%s\t\t}\n", f.checkTimeout().Seconds(), retry)
}

// check is the kind of the checks.
func (f farm) check() string {
	if f.kind == "" {
		return "tcp"
	}
	return f.kind
}

// keys are those keys of baton's checks that are given only sometimes.
func (f farm) keys() (out string) {
	if f.fall > 0 {
		out += fmt.Sprintf(", fall: %d", f.fall)
	}
	if f.fast > 0 {
		out += fmt.Sprintf(", fast_interval: %s", f.fast)
	}
	return out
}
