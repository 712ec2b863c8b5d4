package network

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ReceivePort is a UDP port at which packets in GUE are unwrapped
// (draft-ietf-intarea-gue). What comes out is received as if it had come in the
// tunnel without GUE.
type ReceivePort struct {
	Port uint16
	IPv6 bool
}

// ErrNoGUE means that the kernel cannot unwrap GUE now: its module fou is not
// loaded.
var ErrNoGUE = errors.New("the kernel module fou is not loaded")

// ReceivePorts lists the ports of GUE. It needs CAP_NET_ADMIN. Without the module
// fou, which the kernel may load on this occasion, it returns [ErrNoGUE].
func (h *Host) ReceivePorts() ([]ReceivePort, error) {
	messages, err := h.fou(netlink.FOU_CMD_GET, unix.NLM_F_DUMP)
	if err != nil {
		return nil, fmt.Errorf("list the ports of GUE: %w%s", err, remedy(err))
	}
	var out []ReceivePort
	for _, m := range messages {
		var p ReceivePort
		gue := false
		for kind, value := range attributes(m[min(len(m), nl.SizeofGenlmsg):]) {
			switch {
			case kind == netlink.FOU_ATTR_PORT && len(value) >= 2:
				p.Port = binary.BigEndian.Uint16(value)
			case kind == netlink.FOU_ATTR_AF && len(value) >= 1:
				p.IPv6 = value[0] == unix.AF_INET6
			case kind == netlink.FOU_ATTR_TYPE && len(value) >= 1:
				gue = value[0] == netlink.FOU_ENCAP_GUE
			}
		}
		if gue {
			out = append(out, p)
		}
	}
	return out, nil
}

// AddReceivePort makes the kernel unwrap GUE at a port.
func (h *Host) AddReceivePort(p ReceivePort) error {
	_, err := h.fou(netlink.FOU_CMD_ADD, unix.NLM_F_ACK, append(p.attributes(),
		nl.NewRtAttr(netlink.FOU_ATTR_TYPE, nl.Uint8Attr(netlink.FOU_ENCAP_GUE)))...)
	switch {
	case errors.Is(err, unix.EADDRINUSE), errors.Is(err, unix.EALREADY):
		return fmt.Errorf("receive GUE at UDP port %d: %w: see who has it (ss -ulpn; ip fou show)", p.Port, err)
	case err != nil:
		return fmt.Errorf("receive GUE at UDP port %d: %w%s", p.Port, err, remedy(err))
	}
	return nil
}

// RemoveReceivePort ends that.
func (h *Host) RemoveReceivePort(p ReceivePort) error {
	if _, err := h.fou(netlink.FOU_CMD_DEL, unix.NLM_F_ACK, p.attributes()...); err != nil {
		return fmt.Errorf("receive GUE at UDP port %d no more: %w%s", p.Port, err, remedy(err))
	}
	return nil
}

func (p ReceivePort) attributes() []*nl.RtAttr {
	return []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, p.Port)),
		nl.NewRtAttr(netlink.FOU_ATTR_AF, nl.Uint8Attr(familyOf(p.IPv6))),
	}
}

// fou sends a request to the module fou. The library's own ones name an inner
// protocol with GUE, 0, which the kernel refuses.
func (h *Host) fou(command uint8, flags int, attrs ...*nl.RtAttr) ([][]byte, error) {
	family, err := h.handle.GenlFamilyGet(netlink.FOU_GENL_NAME)
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoGUE
	}
	if err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(int(family.ID), flags)
	req.Sockets = h.generic.sockets
	req.RetryInterrupted = true
	req.AddData(&nl.Genlmsg{Command: command, Version: 1})
	for _, a := range attrs {
		req.AddData(a)
	}
	return req.Execute(unix.NETLINK_GENERIC, 0)
}
