package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"baton/test/lab"
)

// keepalived is Debian's. By default it runs like any other process; with
// realtime its VRRP process gets the class that baton asks for by itself, and its
// memory is locked.
type keepalived struct {
	realtime bool
	ipvs     bool // the kernel has it; its checks need that
}

func (k keepalived) name() string {
	if k.realtime {
		return "keepalived rt"
	}
	return "keepalived"
}

func (k keepalived) checks() bool { return k.ipvs }

// errNoCommand is what keepalived has no command for.
var errNoCommand = errors.New("keepalived has no command to hand over")

func (keepalived) failover(context.Context, *lab.Host, string) error { return errNoCommand }

func (k keepalived) start(h *lab.Host, s setup) (*lab.Process, error) {
	conf := filepath.Join(s.dir, "keepalived.conf")
	if err := write(conf, k.config(s)); err != nil {
		return nil, err
	}
	args := []string{
		"keepalived", "--dont-fork", "--log-console", "--use-file", conf,
		"--pid", filepath.Join(s.dir, "pid"), "--vrrp_pid", filepath.Join(s.dir, "vrrp.pid"),
		"--checkers_pid", filepath.Join(s.dir, "checkers.pid"),
	}
	if s.checks == 0 || !k.ipvs {
		args = append(args, "--vrrp")
	}
	return h.Start(lab.Proc{Args: args, Log: filepath.Join(s.dir, "log")}), nil
}

func (k keepalived) config(s setup) string {
	var t strings.Builder
	fmt.Fprintf(&t, "global_defs {\n\trouter_id %s\n\tvrrp_version 3\n", s.node)
	if k.realtime {
		t.WriteString("\tvrrp_rt_priority 1\n\tvrrp_no_swap\n")
	}
	t.WriteString("}\n")
	for n := range s.routers {
		fmt.Fprintf(&t, `vrrp_instance r%d {
	state BACKUP
	interface eth0
	virtual_router_id %d
	priority %d
	advert_int %g
	virtual_ipaddress {
		%s
	}
}
`, s.id(n), s.id(n), s.priority, s.advert.Seconds(), s.virtual(n))
	}
	if k.ipvs {
		k.services(&t, s)
	}
	return t.String()
}

func (keepalived) services(t *strings.Builder, s setup) {
	for n := range s.checks {
		if n%serversPerService == 0 {
			fmt.Fprintf(t, "virtual_server %s %d {\n\tdelay_loop %g\n\tlvs_sched rr\n\tlvs_method NAT\n\tprotocol TCP\n",
				vip, 10000+n/serversPerService, checkInterval.Seconds())
		}
		fmt.Fprintf(t, "\treal_server %s %d {\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout %g\n\t\t}\n\t}\n",
			server(n), serverPort, checkTimeout.Seconds())
		if n%serversPerService == serversPerService-1 || n == s.checks-1 {
			t.WriteString("}\n")
		}
	}
}

// speaker is the VRRP process: the only child where nothing is checked.
func (keepalived) speaker(p *lab.Process) (int, error) {
	for _, pid := range p.Tree() {
		if pid != p.Pid() {
			return pid, nil
		}
	}
	return 0, errors.New("keepalived has no VRRP process")
}
