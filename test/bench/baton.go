package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"baton/test/lab"
)

type baton struct{ path string }

func (baton) name() string { return "baton" }

func (baton) checks() bool { return true } // without IPVS it says so, and checks

func (b baton) start(h *lab.Host, s setup) (*lab.Process, error) {
	conf := filepath.Join(s.dir, "baton.yaml")
	if err := write(conf, b.config(s)); err != nil {
		return nil, err
	}
	return h.Start(lab.Proc{Args: []string{b.path, "run", "-c", conf}, Log: filepath.Join(s.dir, "log")}), nil
}

func (baton) socket(dir string) string { return filepath.Join(dir, "sock") }

func (b baton) config(s setup) string {
	var t strings.Builder
	fmt.Fprintf(&t, "node: %s\nstate_dir: %s/state\napi: {socket: %s}\n", s.node, s.dir, b.socket(s.dir))
	fmt.Fprintf(&t, "defaults:\n  check: {interval: %s, timeout: %s}\nrouters:\n", checkInterval, checkTimeout)
	for n := range s.routers {
		fmt.Fprintf(&t, "  - {name: r%d, interface: eth0, id: %d, priority: %d, advert_interval: %s, addresses: [%s]}\n",
			s.id(n), s.id(n), s.priority, s.advert, s.virtual(n))
	}
	if s.checks == 0 {
		return t.String()
	}
	t.WriteString("services:\n")
	for n := range s.checks {
		if n%serversPerService == 0 {
			fmt.Fprintf(&t, "  - name: s%d\n    address: %s:%d\n    scheduler: rr\n    check: {tcp: {}}\n    servers:\n",
				n/serversPerService, vip, 10000+n/serversPerService)
		}
		fmt.Fprintf(&t, "      - %s:%d\n", server(n), serverPort)
	}
	return t.String()
}

func (baton) speaker(p *lab.Process) (int, error) { return p.Pid(), nil }

func (b baton) failover(ctx context.Context, h *lab.Host, dir string) error {
	_, err := h.Run(ctx, b.path, "failover", "--all", "--socket", b.socket(dir))
	return err
}
