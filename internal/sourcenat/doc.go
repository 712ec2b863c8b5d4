// Package sourcenat makes the nftables table that rewrites clients' addresses
// towards NAT real servers equal a desired one.
//
// A real server whose gateway is not the director answers the client past it, and
// the client drops the answer, which comes from an address that it never asked.
// With the director's own address as the source the answer comes back to the
// director, where the kernel puts both addresses right again.
//
// The table is "inet baton". It is ours: whatever is in it is replaced, in one
// transaction, when it is not as wanted. All others are left alone. Somebody who
// flushes the whole ruleset, as reloads of firewalls do, removes ours, too; the
// next [Table.Apply] puts it back.
//
// # How a packet passes
//
// IPVS takes a client's packet in the hook input, where connection tracking has
// entered it as client to VIP, writes the server's address into it, and sends it
// through output and postrouting (ip_vs_nat_xmit). With net.ipv4.vs.conntrack=1 the
// entry stays with the packet, with the answer expected from the server
// (ip_vs_update_conntrack); without, the packet leaves untracked and no NAT rule
// sees it. So in postrouting a packet of IPVS is one that was for the VIP at first
// and is for a server now. Masquerading gives it the address of the interface it
// leaves by. Of the answer, connection tracking gives back the client's address
// in prerouting, and IPVS the VIP's in forward.
package sourcenat
