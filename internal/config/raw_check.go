package config

// rawCheck is a check; "none" is the short form of {none: {}}.
type rawCheck struct {
	Interval     value[span]       `key:"interval" range:"10ms..24h" default:"2s"`
	Timeout      value[span]       `key:"timeout" range:"1ms..1h" default:"1s"`
	Rise         value[number]     `key:"rise" range:"1..1000" default:"2"`
	Fall         value[number]     `key:"fall" range:"1..1000" default:"3"`
	FastInterval value[span]       `key:"fast_interval" range:"10ms..24h"`
	Jitter       value[percent]    `key:"jitter" range:"0..50" default:"10"`
	Via          value[word]       `key:"via" oneof:"server vip" default:"server"`
	Connect      block[rawConnect] `key:"connect"`

	TCP        block[rawTCP]        `key:"tcp"`
	HTTP       block[rawHTTP]       `key:"http"`
	HTTPS      block[rawHTTPS]      `key:"https"`
	TLS        block[rawTLS]        `key:"tls"`
	DNS        block[rawDNS]        `key:"dns"`
	SMTP       block[rawSMTP]       `key:"smtp"`
	UDP        block[rawUDP]        `key:"udp"`
	Ping       block[rawPing]       `key:"ping"`
	GRPC       block[rawGRPC]       `key:"grpc"`
	Exec       block[rawExec]       `key:"exec"`
	File       block[rawNumberFile] `key:"file"`
	FTP        block[rawFTP]        `key:"ftp"`
	IMAP       block[rawIMAP]       `key:"imap"`
	POP3       block[rawPOP3]       `key:"pop3"`
	NNTP       block[rawNNTP]       `key:"nntp"`
	LDAP       block[rawLDAP]       `key:"ldap"`
	MySQL      block[rawMySQL]      `key:"mysql"`
	PostgreSQL block[rawPostgreSQL] `key:"postgresql"`
	Redis      block[rawRedis]      `key:"redis"`
	NTP        block[rawNTP]        `key:"ntp"`
	RADIUS     block[rawRADIUS]     `key:"radius"`
	SIP        block[rawSIP]        `key:"sip"`
	None       block[rawNone]       `key:"none"`
}

type rawConnect struct {
	Address   value[address] `key:"address"`
	Port      value[number]  `key:"port" range:"1..65535"`
	Source    value[address] `key:"source"`
	Interface value[device]  `key:"interface"`
	FWMark    value[number]  `key:"fwmark" range:"0..4294967295" default:"0"`
}

type rawTCP struct {
	Send        value[text]    `key:"send"`
	Expect      value[text]    `key:"expect"`
	ExpectRegex value[pattern] `key:"expect_regex"`
	TLS         block[rawTLS]  `key:"tls"`
}

type rawHTTP struct {
	Method          value[token]        `key:"method" default:"GET"`
	Path            value[urlPath]      `key:"path" default:"/"`
	Host            value[host]         `key:"host"`
	Headers         headers             `key:"headers"`
	Body            value[text]         `key:"body"`
	Status          some[value[status]] `key:"status"`
	ExpectBody      value[text]         `key:"expect_body"`
	ExpectBodyRegex value[pattern]      `key:"expect_body_regex"`
	BodyMD5         value[digest]       `key:"body_md5"`
	Version         value[word]         `key:"version" oneof:"1.0 1.1 2" default:"1.1"`
	Username        value[text]         `key:"username"`
	PasswordFile    value[secretPath]   `key:"password_file"`
	Follow          value[number]       `key:"follow" range:"0..10" default:"0"`
	MaxBody         value[size]         `key:"max_body" range:"1..16777216" default:"64KiB"`
	TLS             block[rawTLS]       `key:"tls"`
}

// rawHTTPS has the keys of rawHTTP under another name.
type rawHTTPS rawHTTP

type rawTLS struct {
	ServerName  value[hostName] `key:"server_name"`
	Verify      value[boolean]  `key:"verify" default:"true"`
	CAFile      value[path]     `key:"ca_file"`
	CertFile    value[path]     `key:"cert_file"`
	KeyFile     value[path]     `key:"key_file"`
	MinDaysLeft value[number]   `key:"min_days_left" range:"0..3650" default:"0"`
}

type rawNone struct{}

func (c *rawCheck) decodeShort(_ *problems, _ *rule, n *node) bool {
	c.None.set, c.None.at = n.text == "none", n.at
	return c.None.set
}

func (*rawCheck) shortForm() string { return "none, or a mapping such as {tcp: {}}" }

func (rawCheck) kind() string   { return "check" }
func (rawConnect) kind() string { return "connect" }
func (rawTCP) kind() string     { return "tcp" }
func (rawHTTP) kind() string    { return "http" }
func (rawHTTPS) kind() string   { return "https" }
func (rawTLS) kind() string     { return "tls" }
func (rawNone) kind() string    { return "none" }
