package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultState is where the record is kept: in /run, which ends with the boot, as
// everything does that it describes.
const DefaultState = "/run/baton-realserver/state.json"

// Store keeps the record in a file.
type Store struct {
	path string
}

// NewStore returns a store for a file. Its folder is made when it is needed.
func NewStore(path string) *Store { return &Store{path: path} }

// Lock waits until nobody else uses the store, and makes its folder. A crash
// releases it.
func (s *Store) Lock() (unlock func(), err error) {
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // whoever looks at the status reads it
		return nil, fmt.Errorf("make the folder of the state file: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the state file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Load reads the record. Without one, or with one from before the last reboot, it
// is empty. One of another network namespace, and one that cannot be read, is an
// error.
func (s *Store) Load() (Record, error) {
	here, err := place()
	if err != nil {
		return Record{}, err
	}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return here, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("read the state file: %w", err)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("read the state file %s: %w: it says how to restore the kernel's settings; "+
			"if it cannot be repaired, remove it, and restore them by hand", s.path, err)
	}
	switch {
	case r.Boot != here.Boot:
		return here, nil
	case r.Namespace != here.Namespace:
		return Record{}, fmt.Errorf("the state file %s belongs to another network namespace: "+
			"name one for this network with --state, or remove that one if its network is gone", s.path)
	}
	return r, nil
}

// Save writes the record, or removes it if nothing is left in it. A failure leaves
// the earlier one as it was.
func (s *Store) Save(r Record) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the state file: %w", err)
		}
	}()
	if r.empty() {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), "state-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) //nolint:gosec // as above
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// place is an empty record of here and now.
func place() (Record, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Record{}, fmt.Errorf("read the id of this boot: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return Record{}, fmt.Errorf("look at the network namespace: %w", err)
	}
	return Record{Boot: strings.TrimSpace(string(boot)), Namespace: st.Ino}, nil
}
