package config

// The kinds of checks beside tcp, http and https.

type rawDNS struct {
	Name      value[dnsName]    `key:"name" required:"yes"`
	Type      value[word]       `key:"type" oneof:"A AAAA CNAME MX NS PTR SOA SRV TXT" default:"A"`
	Expect    some[value[text]] `key:"expect"`
	Transport value[word]       `key:"transport" oneof:"udp tcp" default:"udp"`
	RCode     value[word]       `key:"rcode" oneof:"NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED" default:"NOERROR"`
}

type rawSMTP struct {
	Helo     value[hostName] `key:"helo"`
	StartTLS value[boolean]  `key:"starttls" default:"false"`
	Expect   value[text]     `key:"expect"`
	TLS      block[rawTLS]   `key:"tls"`
}

type rawUDP struct {
	Send         value[text]    `key:"send"`
	Expect       value[text]    `key:"expect"`
	RequireReply value[boolean] `key:"require_reply" default:"false"`
}

type rawPing struct{}

type rawGRPC struct {
	Service value[text]   `key:"service"`
	TLS     block[rawTLS] `key:"tls"`
}

type rawExec struct {
	Command        list[value[text]] `key:"command" required:"yes"`
	User           value[name]       `key:"user"`
	Expect         value[text]       `key:"expect"`
	WeightFromExit value[boolean]    `key:"weight_from_exit" default:"false"`
}

type rawNumberFile struct {
	Path value[path] `key:"path" required:"yes"`
}

// rawGreeting is the kind of a protocol whose server speaks first, and that may
// speak TLS from the first byte on.
type rawGreeting struct {
	TLS block[rawTLS] `key:"tls"`
}

type (
	rawFTP  rawGreeting
	rawIMAP rawGreeting
	rawPOP3 rawGreeting
	rawNNTP rawGreeting
	rawLDAP rawGreeting
)

type rawMySQL struct{}

type rawPostgreSQL struct {
	Username value[text] `key:"username"`
	Database value[text] `key:"database"`
}

type rawRedis struct {
	Username     value[text]       `key:"username"`
	PasswordFile value[secretPath] `key:"password_file"`
	TLS          block[rawTLS]     `key:"tls"`
}

type rawNTP struct {
	MaxStratum value[number] `key:"max_stratum" range:"1..15" default:"15"`
}

type rawRADIUS struct {
	SecretFile   value[secretPath] `key:"secret_file" required:"yes"`
	Username     value[text]       `key:"username"`
	PasswordFile value[secretPath] `key:"password_file"`
}

type rawSIP struct {
	Transport value[word] `key:"transport" oneof:"udp tcp" default:"udp"`
}

func (rawDNS) kind() string        { return "dns" }
func (rawSMTP) kind() string       { return "smtp" }
func (rawUDP) kind() string        { return "udp" }
func (rawPing) kind() string       { return "ping" }
func (rawGRPC) kind() string       { return "grpc" }
func (rawExec) kind() string       { return "exec" }
func (rawNumberFile) kind() string { return "file check" }
func (rawFTP) kind() string        { return "ftp" }
func (rawIMAP) kind() string       { return "imap" }
func (rawPOP3) kind() string       { return "pop3" }
func (rawNNTP) kind() string       { return "nntp" }
func (rawLDAP) kind() string       { return "ldap" }
func (rawMySQL) kind() string      { return "mysql" }
func (rawPostgreSQL) kind() string { return "postgresql" }
func (rawRedis) kind() string      { return "redis" }
func (rawNTP) kind() string        { return "ntp" }
func (rawRADIUS) kind() string     { return "radius" }
func (rawSIP) kind() string        { return "sip" }
