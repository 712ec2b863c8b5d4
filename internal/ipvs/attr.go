package ipvs

// The kernel's interface, from include/uapi/linux/ip_vs.h. golang.org/x/sys has
// none of it and github.com/moby/ipvs exports none of it, so it is written down
// here. Numbers are part of the kernel's ABI and never change.
const (
	familyName    = "IPVS" // IPVS_GENL_NAME
	familyVersion = 1      // IPVS_GENL_VERSION

	schedulerNameMax = 15 // IP_VS_SCHEDNAME_MAXLEN less the final zero
	engineNameMax    = 15 // IP_VS_PENAME_MAXLEN less the final zero
)

// Commands, IPVS_CMD_*.
const (
	cmdNewService = 1
	cmdSetService = 2
	cmdDelService = 3
	cmdGetService = 4
	cmdNewDest    = 5
	cmdSetDest    = 6
	cmdDelDest    = 7
	cmdGetDest    = 8
	cmdNewDaemon  = 9
	cmdDelDaemon  = 10
	cmdGetDaemon  = 11
	cmdSetConfig  = 12
	cmdGetConfig  = 13
	cmdSetInfo    = 14 // the kernel's name for the answer to cmdGetInfo
	cmdGetInfo    = 15
	cmdZero       = 16
	cmdFlush      = 17
)

// Attributes of a command, IPVS_CMD_ATTR_*.
const (
	attrService       = 1
	attrDest          = 2
	attrDaemon        = 3
	attrTimeoutTCP    = 4 // u32, seconds, as are the two below
	attrTimeoutTCPFin = 5
	attrTimeoutUDP    = 6
)

// Attributes of a service, IPVS_SVC_ATTR_*.
const (
	svcFamily    = 1 // u16
	svcProtocol  = 2 // u16
	svcAddress   = 3 // union nf_inet_addr: 16 bytes, IPv4 in the first four
	svcPort      = 4 // be16
	svcFWMark    = 5 // u32
	svcScheduler = 6 // string
	svcFlags     = 7 // struct ip_vs_flags {flags, mask u32}
	svcTimeout   = 8 // u32, seconds
	svcNetmask   = 9 // IPv4: be32 mask; IPv6: u32 prefix length
	svcStats     = 10
	svcEngine    = 11 // string
	svcStats64   = 12
)

// Attributes of a destination, IPVS_DEST_ATTR_*.
const (
	destAddress     = 1 // union nf_inet_addr
	destPort        = 2 // be16
	destForward     = 3 // u32, IP_VS_CONN_F_FWD_MASK
	destWeight      = 4 // u32
	destUpper       = 5 // u32
	destLower       = 6 // u32
	destActive      = 7 // u32
	destInactive    = 8 // u32
	destPersistent  = 9 // u32
	destStats       = 10
	destFamily      = 11 // u16, since Linux 3.18
	destStats64     = 12
	destTunnelType  = 13 // u8, since Linux 5.3
	destTunnelPort  = 14 // be16, since Linux 5.3
	destTunnelFlags = 15 // u16, since Linux 5.3
)

// Attributes of the connection sync daemon, IPVS_DAEMON_ATTR_*; those after the
// third since Linux 4.3.
const (
	daemonState     = 1 // u32, IP_VS_STATE_MASTER or IP_VS_STATE_BACKUP
	daemonInterface = 2 // string
	daemonID        = 3 // u32
	daemonMaxLen    = 4 // u16
	daemonGroup     = 5 // be32
	daemonGroup6    = 6 // struct in6_addr
	daemonPort      = 7 // u16, in the host's order, unlike the other ports
	daemonTTL       = 8 // u8
)

// Attributes of the counters, IPVS_STATS_ATTR_*. All are u64 inside the
// STATS64 attributes; inside the old STATS attributes only the byte counters
// are.
const (
	statConns    = 1
	statPktsIn   = 2
	statPktsOut  = 3
	statBytesIn  = 4
	statBytesOut = 5
	statCPS      = 6
	statPPSIn    = 7
	statPPSOut   = 8
	statBPSIn    = 9
	statBPSOut   = 10
)

// Attributes of the answer to cmdGetInfo, IPVS_INFO_ATTR_*.
const (
	infoVersion   = 1 // u32, NVERSION(major, minor, patch)
	infoTableSize = 2 // u32
)
