package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// flagAllowLocalRemote is IP6_TNL_F_ALLOW_LOCAL_REMOTE of linux/ip6_tunnel.h.
const flagAllowLocalRemote = 0x40

// AddTunnel6 makes an interface that receives what is tunnelled in IPv6 to any
// address of this host, IPv4 and IPv6 (RFC 2473), and that no other tunnel is
// for. It is down.
//
// The device that comes with the module, ip6tnl0, is not enough: it takes IPv6
// inside only, and drops packets whose outer source is an address of this host
// (ip6_tnl_rcv_ctl in net/ipv6/ip6_tunnel.c). A director whose kernel chooses the
// VIP as that source, which it has itself, sends nothing else to a real server.
func (h *Host) AddTunnel6(name, alias string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("ip6tnl"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_IPTUN_COLLECT_METADATA, []byte{})
	data.AddRtAttr(nl.IFLA_IPTUN_PROTO, nl.Uint8Attr(0)) // either family
	data.AddRtAttr(nl.IFLA_IPTUN_FLAGS, nl.Uint32Attr(flagAllowLocalRemote))
	req.AddData(info)
	req.Sockets = h.conn.sockets
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err == nil {
		// The alias is not taken together with a new interface.
		if err = h.setAlias(name, alias); err != nil {
			err = errors.Join(err, h.RemoveInterface(name))
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("add the tunnel interface %s: %w: there is an ip6tnl interface for all packets already, "+
			"of which the kernel allows one (ip -d link show type ip6tnl): name it with --device", name, err)
	case err != nil:
		return fmt.Errorf("add the tunnel interface %s: %w%s", name, err, remedy(err))
	}
	return nil
}

func (h *Host) setAlias(name, alias string) error {
	l, err := h.link(name)
	if err == nil {
		err = h.handle.LinkSetAlias(l, alias)
	}
	return err
}
