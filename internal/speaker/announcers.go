package speaker

import (
	"errors"
	"sync"
)

// announcers are the sockets that announcements leave by, shared by all routers.
// It is safe for concurrent use.
type announcers struct {
	open func(ifname string, mac *[6]byte) (Announcer, error)

	mu   sync.Mutex
	have map[announcerKey]Announcer
}

type announcerKey struct {
	ifname string
	mac    [6]byte // zero: the interface's own
}

// announce tells the neighbours of one address once.
func (s *announcers) announce(a announcement) error {
	k := announcerKey{ifname: a.on}
	if a.mac != nil {
		k.mac = *a.mac
	}
	an, err := s.get(k, a.mac)
	if err != nil {
		return err
	}
	if err := an.Announce(a.address.Prefix.Addr()); err != nil {
		// The interface may have been replaced: begin with a new socket next time.
		return errors.Join(err, s.drop(k, an))
	}
	return nil
}

func (s *announcers) get(k announcerKey, mac *[6]byte) (Announcer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if an := s.have[k]; an != nil {
		return an, nil
	}
	an, err := s.open(k.ifname, mac)
	if err == nil {
		s.have[k] = an
	}
	return an, err
}

func (s *announcers) drop(k announcerKey, an Announcer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have[k] != an {
		return nil // somebody else did
	}
	delete(s.have, k)
	return an.Close()
}

func (s *announcers) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, an := range s.have {
		errs = append(errs, an.Close())
	}
	clear(s.have)
	return errors.Join(errs...)
}
