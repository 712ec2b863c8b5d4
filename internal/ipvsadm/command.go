package ipvsadm

// Command is what a rule does.
type Command uint8

// The commands that a file of rules may have.
const (
	AddService Command = iota + 1
	EditService
	DeleteService
	AddServer
	EditServer
	DeleteServer
	Clear
	Zero
	SetTimeouts
	StartDaemon
	StopDaemon
)

// word is one command as it is written.
type word struct {
	command  Command
	short    byte // 0: none
	long     string
	why      string // why it is refused; it belongs to the command line of ipvsadm alone
	needs    []string
	takes    []string
	argument bool
}

// commands are the commands with the options that they need and take.
var commands = []word{
	{command: AddService, short: 'A', long: "add-service", needs: serviceOptions, takes: settingOptions},
	{command: EditService, short: 'E', long: "edit-service", needs: serviceOptions, takes: settingOptions},
	{command: DeleteService, short: 'D', long: "delete-service", needs: serviceOptions, takes: []string{"ipv6"}},
	{command: AddServer, short: 'a', long: "add-server", needs: serverOptions, takes: forwardOptions},
	{command: EditServer, short: 'e', long: "edit-server", needs: serverOptions, takes: forwardOptions},
	{command: DeleteServer, short: 'd', long: "delete-server", needs: serverOptions, takes: []string{"ipv6"}},
	{command: Clear, short: 'C', long: "clear"},
	{command: Zero, short: 'Z', long: "zero", takes: append([]string{"ipv6"}, services...)},
	{command: SetTimeouts, long: "set"},
	{command: StartDaemon, long: "start-daemon", argument: true, takes: daemonOptions},
	{command: StopDaemon, long: "stop-daemon", argument: true, takes: []string{"syncid"}},
	{short: 'L', long: "list", why: "it lists; a file of rules only changes"},
	{short: 'l', long: "list", why: "it lists; a file of rules only changes"},
	{short: 'S', long: "save", why: "it lists; a file of rules only changes"},
	{short: 'R', long: "restore", why: "a file of rules cannot read another one"},
	{short: 'h', long: "help", why: "a file of rules only changes"},
	{short: 'v', long: "version", why: "a file of rules only changes"},
}

// services are the options that name a service; a rule has one of them.
var services = []string{"tcp-service", "udp-service", "sctp-service", "fwmark-service"}

// serviceNeeded stands for one of services.
const serviceNeeded = "service"

var (
	serviceOptions = []string{serviceNeeded}
	serverOptions  = []string{serviceNeeded, "real-server"}
	settingOptions = []string{"ipv6", "scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"}
	forwardOptions = []string{
		"ipv6", "gatewaying", "ipip", "masquerading", "weight", "u-threshold", "l-threshold",
		"tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum",
	}
	daemonOptions = []string{"mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen"}
)

// String returns the long name, such as add-service.
func (c Command) String() string {
	for _, w := range commands {
		if w.command == c {
			return w.long
		}
	}
	return "no command"
}

// commandNames are the words that a rule may begin with, for errors.
const commandNames = "-A -E -D -a -e -d -C -Z --set --start-daemon --stop-daemon"

// argument says whether an option is followed by a value.
type argument uint8

const (
	none argument = iota
	required
	optional
)

// option is one option as it is written.
type option struct {
	short    byte // 0: none
	long     string
	argument argument
}

var options = []option{
	{'t', "tcp-service", required},
	{'u', "udp-service", required},
	{0, "sctp-service", required},
	{'f', "fwmark-service", required},
	{'6', "ipv6", none},
	{'s', "scheduler", required},
	{'p', "persistent", optional},
	{'M', "netmask", required},
	{'o', "ops", none},
	{0, "pe", required},
	{'b', "sched-flags", required},
	{'r', "real-server", required},
	{'g', "gatewaying", none},
	{'i', "ipip", none},
	{'m', "masquerading", none},
	{'w', "weight", required},
	{'x', "u-threshold", required},
	{'y', "l-threshold", required},
	{0, "tun-type", required},
	{0, "tun-port", required},
	{0, "tun-nocsum", none},
	{0, "tun-csum", none},
	{0, "tun-remcsum", none},
	{0, "mcast-interface", required},
	{0, "syncid", required},
	{0, "mcast-group", required},
	{0, "mcast-port", required},
	{0, "mcast-ttl", required},
	{0, "sync-maxlen", required},
	{'n', "numeric", none}, // in no command that a file may have; known for a better error
	{'c', "connection", none},
	{'X', "exact", none},
}

// spelled is the option as people write it.
func (o option) spelled() string {
	if o.short != 0 {
		return "-" + string(rune(o.short))
	}
	return "--" + o.long
}

// spell is spelled by the long name.
func spell(long string) string {
	if long == serviceNeeded {
		return "-t, -u, -f or --sctp-service"
	}
	for _, o := range options {
		if o.long == long {
			return o.spelled()
		}
	}
	return "--" + long
}
