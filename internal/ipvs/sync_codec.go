package ipvs

import (
	"fmt"
	"net/netip"
)

// encodeSync returns the attributes that start or stop a daemon; of the latter
// the kernel reads the role alone.
func encodeSync(d SyncDaemon) []byte {
	w := make(writer, 0, 96)
	w.nested(attrDaemon, func() {
		w.u32(daemonState, uint32(d.Role))
		w.text(daemonInterface, d.Interface)
		w.u32(daemonID, uint32(d.ID))
		if d.MaxLen != 0 {
			w.u16(daemonMaxLen, d.MaxLen)
		}
		switch {
		case d.Group.Is4():
			w.bytes(daemonGroup, d.Group.AsSlice())
		case d.Group.Is6():
			w.bytes(daemonGroup6, d.Group.AsSlice())
		}
		if d.Port != 0 {
			w.u16(daemonPort, d.Port)
		}
		if d.TTL != 0 {
			w.u8(daemonTTL, d.TTL)
		}
	})
	return w
}

// decodeSync reads one daemon of an answer to IPVS_CMD_GET_DAEMON.
func decodeSync(b []byte) (SyncDaemon, error) {
	r, err := inside(b, attrDaemon)
	if err != nil {
		return SyncDaemon{}, fmt.Errorf("decode a sync daemon: %w", err)
	}
	var d SyncDaemon
	var role uint32
	for r.next() {
		switch r.typ {
		case daemonState:
			role = r.u32()
		case daemonInterface:
			d.Interface = r.text()
		case daemonID:
			d.ID = uint8(r.u32())
		case daemonMaxLen:
			d.MaxLen = r.u16()
		case daemonGroup:
			d.Group = netip.AddrFrom4([4]byte(r.exactly(4)))
		case daemonGroup6:
			d.Group = netip.AddrFrom16([16]byte(r.exactly(16)))
		case daemonPort:
			d.Port = r.u16()
		case daemonTTL:
			d.TTL = r.u8()
		}
	}
	if r.err == nil && role != uint32(SyncMaster) && role != uint32(SyncBackup) {
		r.err = fmt.Errorf("%w: a daemon in state %d", errForm, role)
	}
	d.Role = SyncRole(role)
	if r.err != nil {
		return SyncDaemon{}, fmt.Errorf("decode a sync daemon: %w", r.err)
	}
	return d, nil
}
