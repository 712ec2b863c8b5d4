package ipvs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/mdlayher/netlink"
)

// SyncRole is what the kernel's connection sync daemon does. The two roles are
// daemons of their own: each may run without the other, and both at a time.
type SyncRole uint8

// The roles; their values are the kernel's IP_VS_STATE_*.
const (
	SyncMaster SyncRole = 1 << iota // tells others of this host's connections
	SyncBackup                      // takes over what a master tells
)

// syncRoles are the roles in the order in which they are started: at a takeover
// every connection that comes before the master daemon is one that the others
// hear of later.
var syncRoles = [...]SyncRole{SyncMaster, SyncBackup}

// String returns the role in words; zero is "off".
func (r SyncRole) String() string {
	switch r {
	case 0:
		return "off"
	case SyncMaster:
		return "master"
	case SyncBackup:
		return "backup"
	case SyncMaster | SyncBackup:
		return "master and backup"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// SyncDaemon is the connection sync daemon of one network namespace. It is
// comparable.
type SyncDaemon struct {
	Role      SyncRole
	Interface string     // that the messages are sent and heard on
	ID        uint8      // a backup takes messages with this ID only; with 0 those of all
	Group     netip.Addr // multicast, IPv4 or IPv6; invalid: 224.0.0.81
	Port      uint16     // UDP; 0: 8848
	TTL       uint8      // 0: 1
	MaxLen    uint16     // bytes of one message; 0: the kernel's choice
}

// The kernel's defaults (start_sync_thread in ip_vs_sync.c).
const (
	syncPort = 8848
	syncTTL  = 1
)

var syncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// normal writes the kernel's defaults out, so that what is wanted can be compared
// with what runs.
func (d SyncDaemon) normal() SyncDaemon {
	if !d.Group.IsValid() {
		d.Group = syncGroup
	}
	d.Port = cmp.Or(d.Port, syncPort)
	d.TTL = cmp.Or(d.TTL, syncTTL)
	return d
}

// is reports whether a daemon that runs in one role is as d, in normal form,
// wants it.
func (d SyncDaemon) is(running SyncDaemon) bool {
	want := d
	want.Role, want.MaxLen = running.Role, running.MaxLen
	return want == running && d.takes(running.MaxLen, running.Role)
}

// takes reports whether the kernel, asked for d, may have settled on messages of
// so many bytes (start_sync_thread).
func (d SyncDaemon) takes(length uint16, role SyncRole) bool {
	header, least := uint16(20+8), uint16(1)
	if d.Group.Is6() {
		header = 40 + 8
	}
	if role == SyncBackup {
		least = 1024
	}
	switch {
	case d.MaxLen != 0:
		return length == min(max(d.MaxLen, least), 65535-header)
	case role == SyncBackup:
		// By the MTU that the interface had when the daemon was started.
		return length >= 1500-header
	}
	return length == 1500-header
}

// SyncDaemons reads which sync daemons run: none, or one in each role.
func (k *Kernel) SyncDaemons(ctx context.Context) ([]SyncDaemon, error) {
	var list []SyncDaemon
	err := k.retrying(ctx, func(c *conn) error {
		list = nil
		answers, err := c.ask(ctx, cmdGetDaemon, netlink.Dump, nil)
		if err != nil {
			return err
		}
		for _, a := range answers {
			d, err := decodeSync(a.Data)
			if err != nil {
				return err
			}
			list = append(list, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which connection sync daemons run: %w", err)
	}
	return list, nil
}

// SetSync makes the sync daemons of this network namespace be what is wanted, in
// no role, in one or in both: what is missing is started, what runs with other
// settings is started anew, and what is not wanted is stopped, whoever started
// it. Called again with the same want it changes nothing. It reports whether it
// changed anything, also beside an error.
//
// The kernel drops what a master daemon has gathered and not yet sent when the
// daemon is stopped: that is up to three seconds of connections
// (IPVS_SYNC_FLUSH_TIME, IPVS_SYNC_CHECK_PERIOD).
func (k *Kernel) SetSync(ctx context.Context, want SyncDaemon) (changed bool, err error) {
	want = want.normal()
	running, err := k.SyncDaemons(ctx)
	if err != nil {
		return false, err
	}
	found := make(map[SyncRole]SyncDaemon, len(running))
	for _, d := range running {
		found[d.Role] = d
	}
	var errs []error
	do := func(cmd uint8, d SyncDaemon, role SyncRole) bool {
		d.Role = role
		err := k.changeSync(ctx, cmd, d)
		changed = changed || err == nil
		errs = append(errs, err)
		return err == nil
	}
	for _, role := range syncRoles {
		old, runs := found[role]
		if want.Role&role == 0 || runs && want.is(old) {
			continue
		}
		if !runs || do(cmdDelDaemon, old, role) {
			do(cmdNewDaemon, want, role)
		}
	}
	for _, d := range running {
		if want.Role&d.Role == 0 {
			do(cmdDelDaemon, d, d.Role)
		}
	}
	return changed, errors.Join(errs...)
}

// StartSync starts the daemon in the one role that d names and leaves that of the
// other role alone. That one runs already is an error, whatever its settings.
func (k *Kernel) StartSync(ctx context.Context, d SyncDaemon) error {
	return k.changeSync(ctx, cmdNewDaemon, d.normal())
}

// StopSync stops the daemon of one role and reports whether there was one.
func (k *Kernel) StopSync(ctx context.Context, role SyncRole) (stopped bool, err error) {
	running, err := k.SyncDaemons(ctx)
	if err != nil {
		return false, err
	}
	for _, d := range running {
		if d.Role == role {
			return true, k.changeSync(ctx, cmdDelDaemon, d)
		}
	}
	return false, nil
}

// changeSync starts or stops the daemon of one role. That one to be stopped does
// not run is no error.
func (k *Kernel) changeSync(ctx context.Context, cmd uint8, d SyncDaemon) error {
	err := k.retrying(ctx, func(c *conn) error {
		_, err := c.ask(ctx, cmd, netlink.Acknowledge, encodeSync(d))
		return err
	})
	errno, refused := refusal(err)
	switch {
	case err == nil, cmd == cmdDelDaemon && errno == syscall.ESRCH:
		return nil
	case cmd == cmdDelDaemon:
		return fmt.Errorf("stop the connection sync %s: %w", d.Role, err)
	case refused:
		if why := d.why(errno); why != "" {
			err = fmt.Errorf("%s (%w)", why, errno)
		}
	}
	return fmt.Errorf("start the connection sync %s on %s: %w", d.Role, d.Interface, err)
}

// why explains what the kernel means by an error number in answer to a start. The
// numbers are those of ip_vs_genl_new_daemon and start_sync_thread.
func (d SyncDaemon) why(errno syscall.Errno) string {
	switch errno {
	case syscall.ENODEV:
		return "there is no such interface; make it, or name another one"
	case syscall.EINVAL:
		return "the kernel refuses to synchronise while a service has a server of the other address family; " +
			"use one family in each service, or do without it"
	case syscall.EEXIST:
		return "somebody else has started one; stop it first"
	case syscall.ENETUNREACH, syscall.EADDRNOTAVAIL:
		return fmt.Sprintf("there is no way to %s; set the interface up and give it an address", d.Group)
	case syscall.EADDRINUSE:
		return fmt.Sprintf("UDP port %d of %s is in use by another program; stop it, or take another port", d.Port, d.Group)
	case syscall.EAFNOSUPPORT:
		return "this kernel's IPVS has no IPv6 (CONFIG_IP_VS_IPV6); use an IPv4 group"
	case syscall.ENOMEM:
		return "the kernel has no memory for it"
	case syscall.EPERM, syscall.EACCES:
		return "it needs root or CAP_NET_ADMIN in the initial user namespace"
	}
	return ""
}
