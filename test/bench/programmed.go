package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// cost is what something took.
type cost struct{ Wall, User, System time.Duration }

// programmed is what baton's own part of the work costs: internal/ipvs, without a
// configuration, checks or anything else of the daemon around it.
type programmed struct {
	Fill     cost // from the order to the full table
	Change   cost // one weight
	Writes   int  // for it
	Compare  cost // with the kernel, of a table that is as wanted: what each resync costs
	Withdraw cost
}

// keepTable is the instrument that measures this. It prints a programmed.
func keepTable(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: table SERVICES")
	}
	services, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	k, err := ipvs.Open(ctx, ipvs.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }() // the process ends
	f := farm{services: services}
	r := ipvs.NewReconciler(k, nil, slog.New(slog.DiscardHandler))
	var out programmed
	plain := f.table()
	if out.Fill, err = apply(ctx, r.Apply, plain, services+f.servers()); err != nil {
		return err
	}
	f.heavy = true
	heavy := f.table()
	if out.Change, err = apply(ctx, r.ApplyChange, heavy, 1); err != nil {
		return err
	}
	out.Writes = 1
	for n := range 3 { // the best of three, for garbage is collected now and then
		c, err := apply(ctx, r.Apply, heavy, 0)
		if err != nil {
			return err
		}
		if n == 0 || c.User+c.System < out.Compare.User+out.Compare.System {
			out.Compare = c
		}
	}
	out.Withdraw, err = timed(func() error { return r.Withdraw(ctx) })
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(out))
}

// apply times one pass and sees to it that it made so many changes.
func apply(ctx context.Context, pass func(context.Context, pool.Table) (ipvs.Applied, error), want pool.Table, writes int) (cost, error) {
	var a ipvs.Applied
	c, err := timed(func() (err error) {
		a, err = pass(ctx, want)
		return err
	})
	if err == nil && (a.Wrote() != writes || len(a.Failed) > 0) {
		err = fmt.Errorf("%d changes were made and %d services failed, where %d changes were to be made", a.Wrote(), len(a.Failed), writes)
	}
	return c, err
}

// timed is what f costs this process.
func timed(f func() error) (c cost, err error) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return c, err
	}
	began := time.Now()
	err = f()
	c.Wall = time.Since(began)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return c, err
	}
	c.User = time.Duration(after.Utime.Nano() - before.Utime.Nano())
	c.System = time.Duration(after.Stime.Nano() - before.Stime.Nano())
	return c, err
}

// timeCommand is the instrument that runs a command, with a file as its input,
// and prints its cost.
func timeCommand(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: time FILE COMMAND [ARG…]")
	}
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	c := cost{Wall: time.Since(began)}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.User, c.System = time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// measured runs one of the two instruments on the director and reads what it
// prints.
func measured[T any](ctx context.Context, s *stand, args ...string) (out T, err error) {
	text, err := s.director.Run(ctx, s.bench.self, args...)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return out, fmt.Errorf("%v: %w: %s", args, err, text)
	}
	return out, nil
}
