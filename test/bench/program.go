package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"baton/test/lab"
)

const (
	vip  = "10.0.0.100"
	vrid = 51

	checkInterval = 5 * time.Second
	checkTimeout  = 3 * time.Second
	// serverPort is where all real servers listen.
	serverPort = 80
	// serversPerService is how many of them one virtual service has.
	serversPerService = 10
)

// setup is what a director is to do, in no program's language.
type setup struct {
	node     string
	dir      string // for its files
	priority int
	advert   time.Duration
	routers  int // 1: the VIP; more: as many, with an address each
	checks   int // TCP checks, each of a real server of its own
}

// program is a program that is measured.
type program interface {
	name() string
	// checks tells whether it checks by itself on this kernel.
	checks() bool
	start(h *lab.Host, s setup) (*lab.Process, error)
	// speaker is the process id of the one that does VRRP.
	speaker(p *lab.Process) (int, error)
	// failover hands the VIP over by command and waits for it.
	failover(ctx context.Context, h *lab.Host, dir string) error
}

// virtual is the address of the router with that number, from 0.
func (s setup) virtual(n int) string {
	if s.routers == 1 {
		return vip + "/24"
	}
	return fmt.Sprintf("10.1.0.%d/32", n)
}

// id is that router's VRID.
func (s setup) id(n int) int {
	if s.routers == 1 {
		return vrid
	}
	return n + 1
}

// server is the address of a real server; all of them are one host.
func server(n int) string { return fmt.Sprintf("10.66.%d.%d", n/250, n%250+1) }

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
