package director

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"baton/internal/balancer"
	"baton/internal/pool"
)

const (
	overridesFile    = "overrides.json"
	overridesVersion = 1
)

// overridesDoc is the file of operators' overrides.
type overridesDoc[T any] struct {
	Version   int `json:"version"`
	Overrides []T `json:"overrides"`
}

func (s store) saveOverrides(list []balancer.Override) error {
	if list == nil {
		list = []balancer.Override{}
	}
	return s.save(overridesFile, overridesDoc[balancer.Override]{overridesVersion, list})
}

// loadOverrides reads what operators wanted under an earlier run. What cannot be
// understood is left out and the file is kept aside under the name in the error,
// which is for the operator.
func (s store) loadOverrides(now time.Time) ([]balancer.Override, error) {
	b, err := os.ReadFile(s.path(overridesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []balancer.Override
	if err == nil {
		list, err = parseOverrides(b)
	}
	if err == nil {
		return list, nil
	}
	aside := s.path(overridesFile) + ".broken-" + now.UTC().Format("20060102T150405Z")
	if rename := os.Rename(s.path(overridesFile), aside); rename != nil {
		return list, fmt.Errorf("read %s: %w; it could not be kept aside: %w", s.path(overridesFile), err, rename)
	}
	if len(list) > 0 {
		if save := s.saveOverrides(list); save != nil {
			err = errors.Join(err, save)
		}
	}
	return list, fmt.Errorf("read %s, which is now %s: %w", s.path(overridesFile), aside, err)
}

// parseOverrides reads the file of overrides. It returns what it could make sense
// of, also with an error.
func parseOverrides(b []byte) (list []balancer.Override, err error) {
	var doc overridesDoc[json.RawMessage]
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("not as baton writes it: %w", err)
	}
	if doc.Version != overridesVersion {
		return nil, fmt.Errorf("of version %d, which this baton does not know", doc.Version)
	}
	var errs []error
	known := make(map[pool.Place]bool)
	for i, raw := range doc.Overrides {
		o, err := parseOverride(raw)
		if err == nil && known[o.Place()] {
			err = errors.New("the server is there twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("entry %d (%s): %w", i+1, bytes.ToValidUTF8(raw[:min(len(raw), 200)], nil), err))
			continue
		}
		known[o.Place()] = true
		list = append(list, o)
	}
	const told = 3
	if len(errs) > told {
		errs = append(errs[:told], fmt.Errorf("and %d more", len(errs)-told))
	}
	return list, errors.Join(errs...)
}

func parseOverride(raw json.RawMessage) (o balancer.Override, err error) {
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, err
	}
	switch {
	case o.Service == "" || !o.Server.IsValid():
		return o, errors.New("it names no server")
	case o.State != "" && o.State != balancer.Draining && o.State != balancer.Disabled:
		return o, fmt.Errorf("%q is no state", o.State)
	case o.State == "" && o.Weight == nil:
		return o, errors.New("it wants nothing")
	case o.Weight != nil && *o.Weight > balancer.MaxWeight:
		return o, fmt.Errorf("%d is no weight", *o.Weight)
	}
	return o, nil
}
