package main

import (
	"baton/internal/speaker"
	"baton/internal/wire"
)

// The following make interfaces of wire's types: a nil *VRRPConn would not be a
// nil Conn.

func openConn(ifname string, f wire.Family) (speaker.Conn, error) {
	c, err := wire.OpenVRRP(ifname, f)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func openSender(ifname string, f wire.Family, mac [6]byte) (speaker.Sender, error) {
	s, err := wire.OpenSender(ifname, f, mac)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openAnnouncer(ifname string, mac *[6]byte) (speaker.Announcer, error) {
	var options []wire.AnnouncerOption
	if mac != nil {
		options = append(options, wire.WithSource(*mac))
	}
	a, err := wire.OpenAnnouncer(ifname, options...)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func openConflicts(ifname string) (speaker.ConflictWatch, error) {
	w, err := wire.OpenConflictWatch(ifname)
	if err != nil {
		return nil, err
	}
	return w, nil
}
