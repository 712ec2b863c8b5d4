package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"baton/internal/api"
	"baton/test/lab"
)

// keeper is a program that keeps a table in the kernel and checks its servers.
type keeper interface {
	name() string
	// prepare writes its configuration into the folder.
	prepare(dir string, f farm) error
	// keep starts it. talk: it tells when a reload has ended, which for some costs time.
	keep(s *stand, dir string, talk bool) *lab.Process
	// reload has it read its file again and waits for the end of that.
	reload(ctx context.Context, p *lab.Process, dir string) error
}

func (baton) prepare(dir string, f farm) error {
	return write(filepath.Join(dir, "baton.yaml"), f.batonFile(dir))
}

func (b baton) keep(s *stand, dir string, _ bool) *lab.Process {
	args := []string{b.path, "run", "-c", filepath.Join(dir, "baton.yaml")}
	return s.director.Start(lab.Proc{Args: args, Log: filepath.Join(dir, "log")})
}

func (b baton) reload(ctx context.Context, _ *lab.Process, dir string) error {
	c := api.Dial(b.socket(dir))
	defer c.Close()
	_, err := c.Reload(ctx)
	return err
}

func (keepalived) prepare(dir string, f farm) error {
	return write(filepath.Join(dir, "keepalived.conf"), f.keepalivedFile())
}

func (keepalived) keep(s *stand, dir string, talk bool) *lab.Process {
	args := []string{
		"keepalived", "--dont-fork", "--check", "--use-file", filepath.Join(dir, "keepalived.conf"),
		"--pid", filepath.Join(dir, "pid"), "--checkers_pid", filepath.Join(dir, "checkers.pid"),
	}
	if talk {
		args = append(args, "--log-console")
	}
	return s.director.Start(lab.Proc{Args: args, Log: filepath.Join(dir, "log")})
}

// reloaded is the last that keepalived says of a start and of each reload.
const reloaded = "Activating BFD healthchecker"

func (keepalived) reload(ctx context.Context, p *lab.Process, _ string) error {
	before := strings.Count(p.Output(), reloaded)
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < patience; {
		if strings.Count(p.Output(), reloaded) > before {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("keepalived has not reloaded within %s:\n%s", patience, tail(p))
}
