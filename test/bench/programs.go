package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"baton/test/lab"
)

const (
	vip  = "10.0.0.100"
	vrid = 51
)

// program is a program that is measured.
type program interface {
	name() string
	// start starts it on a director, with files in dir.
	start(h *lab.Host, dir string, priority int, advert time.Duration) (*lab.Process, error)
	// speaker is the process id of the one that does VRRP.
	speaker(p *lab.Process) (int, error)
}

type baton struct{ path string }

func (o *options) batonProgram() program { return baton{o.baton} }

func (baton) name() string { return "baton" }

func (b baton) start(h *lab.Host, dir string, priority int, advert time.Duration) (*lab.Process, error) {
	conf := filepath.Join(dir, "baton.yaml")
	text := fmt.Sprintf(`node: %s
state_dir: %s/state
api: {socket: %s/sock}
routers:
  - {name: bench, interface: eth0, id: %d, priority: %d, advert_interval: %s, addresses: [%s/24]}
`, h.Name(), dir, dir, vrid, priority, advert, vip)
	if err := write(conf, text); err != nil {
		return nil, err
	}
	return h.Start(lab.Proc{Args: []string{b.path, "run", "-c", conf}, Log: filepath.Join(dir, "log")}), nil
}

func (baton) speaker(p *lab.Process) (int, error) { return p.Pid(), nil }

type keepalived struct{}

func (keepalived) name() string { return "keepalived" }

func (keepalived) start(h *lab.Host, dir string, priority int, advert time.Duration) (*lab.Process, error) {
	conf := filepath.Join(dir, "keepalived.conf")
	text := fmt.Sprintf(`global_defs {
	router_id %s
	vrrp_version 3
}
vrrp_instance bench {
	state BACKUP
	interface eth0
	virtual_router_id %d
	priority %d
	advert_int %g
	virtual_ipaddress {
		%s/24
	}
}
`, h.Name(), vrid, priority, advert.Seconds(), vip)
	if err := write(conf, text); err != nil {
		return nil, err
	}
	return h.Start(lab.Proc{
		Args: []string{
			"keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", conf,
			"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"),
		},
		Log: filepath.Join(dir, "log"),
	}), nil
}

func (keepalived) speaker(p *lab.Process) (int, error) {
	for _, pid := range p.Tree() {
		if pid != p.Pid() {
			return pid, nil
		}
	}
	return 0, errors.New("keepalived has no VRRP process")
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// fault is something that happens to the owner.
type fault struct {
	name  string
	title string
	// strike makes it happen.
	strike func(s *stage) error
	// after is how many advert intervals are watched afterwards.
	after int
}

var faults = []fault{
	{name: "link", title: "link down (host lost)", after: 5, strike: func(s *stage) error {
		s.link.Down()
		return nil
	}},
	{name: "term", title: "planned stop (SIGTERM)", after: 3, strike: func(s *stage) error {
		return s.owner.Signal(syscall.SIGTERM)
	}},
	{name: "speaker", title: "SIGKILL of the VRRP process", after: 5, strike: func(s *stage) error {
		pid, err := s.program.speaker(s.owner)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}},
	{name: "everything", title: "SIGKILL of everything", after: 6, strike: func(s *stage) error {
		s.owner.Kill()
		return nil
	}},
}
