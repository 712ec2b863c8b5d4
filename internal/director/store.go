package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"baton/internal/config"
	"baton/internal/pool"
)

// store keeps in the state directory what has to outlive a process. A full disk
// or a missing directory costs the memory, never the service.
type store struct{ dir string }

const (
	lastGoodFile = "last-good.json"
	ownedFile    = "services.json"
	eventsFile   = "events.jsonl"
	syncFile     = "connection-sync.json"
	drainsFile   = "draining.json"
	natFile      = "source-nat.json"
)

func (s store) path(name string) string { return filepath.Join(s.dir, name) }

// save replaces a file in one step, so that a crash leaves the old or the new
// one.
func (s store) save(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("create the state directory: %w", err)
	}
	tmp, err := os.CreateTemp(s.dir, name+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	_, werr := tmp.Write(b)
	err = errors.Join(werr, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), s.path(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", s.path(name), err), os.Remove(tmp.Name()))
	}
	if err := s.syncDir(); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return nil
}

// syncDir makes the names of files outlast a power failure.
func (s store) syncDir() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) { // a file system that has nothing to sync
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// sweep removes what a crash in the middle of [store.save] has left.
func (s store) sweep() error {
	var errs []error
	left, err := filepath.Glob(s.path("*.json.[0-9]*"))
	errs = append(errs, err)
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// load reads a file into v; false when there is none.
func (s store) load(name string, v any) (bool, error) {
	b, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", s.path(name), err)
	}
	return true, nil
}

// owned are the services that an earlier run left in the kernel.
func (s store) owned() ([]pool.Key, error) {
	var keys []pool.Key
	_, err := s.load(ownedFile, &keys)
	return keys, err
}

// goodConfig is a configuration that was in force, with the version of the
// program that understands it.
type goodConfig struct {
	Version string         `json:"version"`
	Config  *config.Config `json:"config"`
}

// lastGood returns the configuration that an earlier director of this pulse ran
// with; why is what is wrong with the present file.
func (d *Director) lastGood(why error) (*config.Config, error) {
	dir, name := filepath.Split(d.opts.LastGood)
	var good goodConfig
	ok, err := store{dir: dir}.load(name, &good)
	if err != nil || !ok || good.Version != d.opts.Version || good.Config == nil || good.Config.Path != d.path {
		return nil, errors.Join(why, err)
	}
	d.log.Error("the configuration on disk is invalid; going on with the last good one", "error", why)
	d.lastError, d.lastErrorAt = why.Error(), time.Now()
	return good.Config, nil
}

// keepGood keeps the configuration for the next director.
func (d *Director) keepGood(cfg *config.Config) {
	if err := d.store.save(lastGoodFile, goodConfig{Version: d.opts.Version, Config: cfg}); err != nil {
		d.log.Warn("the configuration could not be kept for a restart; going on", "error", err)
	}
}
