package check

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Spec says what one probe does. Exactly one of the kinds is set. Two equal
// specs are one probe, whoever asks for it.
type Spec struct {
	Target    netip.AddrPort // where the probe connects to
	Source    netip.Addr     `json:",omitzero"`  // local address; invalid: the kernel chooses
	Interface string         `json:",omitempty"` // bind to this device
	FWMark    uint32         `json:",omitempty"` // SO_MARK
	Via       *Via           `json:",omitempty"` // the target is the VIP; nil: it is the server
	Timeout   time.Duration  // for the whole probe, from connect to verdict

	Hops int `json:"-"` // TTL; 0: the kernel's. Set by the probe itself where there is a Via

	TCP  *TCP  `json:",omitempty"`
	TLS  *TLS  `json:",omitempty"` // a TLS handshake, and nothing after it
	HTTP *HTTP `json:",omitempty"`
	GRPC *GRPC `json:",omitempty"`
	DNS  *DNS  `json:",omitempty"`
	SMTP *SMTP `json:",omitempty"`
	UDP  *UDP  `json:",omitempty"`
	Talk *Talk `json:",omitempty"`
	Exec *Exec `json:",omitempty"`
	Ping *Ping `json:",omitempty"`
	File *File `json:",omitempty"`

	Agent *Agent `json:",omitempty"`
}

// TCP is a check that connects, and where asked sends and expects bytes.
type TCP struct {
	Send        string `json:",omitempty"`
	Expect      string `json:",omitempty"` // the answer starts with this
	ExpectRegex string `json:",omitempty"` // the answer matches this (RE2)
	TLS         *TLS   `json:",omitempty"`
}

// HTTP is a check by one HTTP request.
type HTTP struct {
	Method          string            // GET where empty
	Path            string            // starts with /
	Host            string            `json:",omitempty"` // Host header; default: the target
	Headers         map[string]string `json:",omitempty"`
	Body            string            `json:",omitempty"`
	Status          []StatusRange     // accepted answers; 200–299 where empty
	ExpectBody      string            `json:",omitempty"` // the body contains this
	ExpectBodyRegex string            `json:",omitempty"` // the body matches this (RE2)
	BodyMD5         string            `json:",omitempty"` // the body has this digest, in hex
	Version         string            `json:",omitempty"` // "1.0", "1.1" (default) or "2"
	Username        string            `json:",omitempty"` // basic authentication
	PasswordFile    string            `json:",omitempty"` // read at each probe; never printed
	Follow          int               `json:",omitempty"` // redirects followed at most
	MaxBody         int64             // bytes of the body read at most; 64 KiB where 0
	TLS             *TLS              `json:",omitempty"` // set: HTTPS
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ From, To int }

// TLS is how a probe speaks TLS.
type TLS struct {
	ServerName  string `json:",omitempty"` // SNI and the name verified; default: the Host or address
	Verify      bool
	CAFile      string `json:",omitempty"` // default: the system's
	CertFile    string `json:",omitempty"` // client certificate
	KeyFile     string `json:",omitempty"`
	MinDaysLeft int    `json:",omitempty"` // the certificate is valid this long at least
}

// GRPC is a check by the standard health service of gRPC (grpc.health.v1).
type GRPC struct {
	Service string `json:",omitempty"` // whose health; empty: the server's as a whole
	TLS     *TLS   `json:",omitempty"`
}

// DNS is a check by one query.
type DNS struct {
	Name   string   // asked for
	Type   string   // A, AAAA, CNAME, MX, NS, PTR, SOA, SRV or TXT
	Expect []string `json:",omitempty"` // each is among the answers, as a zone file writes it
	RCode  string   `json:",omitempty"` // NOERROR where empty
	TCP    bool     `json:",omitempty"` // ask over TCP from the start
}

// SMTP is a check by a greeting and an EHLO, and where asked STARTTLS.
type SMTP struct {
	Helo     string `json:",omitempty"` // our name; default: our address, as a literal
	Expect   string `json:",omitempty"` // the greeting contains this
	StartTLS bool   `json:",omitempty"` // the server offers TLS and speaks it
	TLS      *TLS   `json:",omitempty"` // after STARTTLS, or without StartTLS from the first byte on
}

// UDP is a check by one datagram. A server that does not answer is up all the
// same, unless Expect or RequireReply says otherwise: only a port that its host
// reports as closed is down.
type UDP struct {
	Send         string `json:",omitempty"`
	Expect       string `json:",omitempty"` // the answer starts with this
	RequireReply bool   `json:",omitempty"`
}

// Talk is a check that speaks as much of a protocol as proves that the server
// does, without changing anything there and without a login unless one is given.
type Talk struct {
	Protocol string // one of the keys of talks, such as imap or redis
	TLS      *TLS   `json:",omitempty"` // from the first byte on; protocols over TCP only

	User         string `json:",omitempty"`
	PasswordFile string `json:",omitempty"` // read at each probe; never printed
	SecretFile   string `json:",omitempty"` // RADIUS: the shared secret
	Database     string `json:",omitempty"` // PostgreSQL
	MaxStratum   int    `json:",omitempty"` // NTP; 15 where 0
	TCP          bool   `json:",omitempty"` // SIP over TCP
}

// Exec is a check by a program: exit status 0 is success. The path in front is
// absolute; no shell is involved.
//
// In the arguments %h stands for the target's address, %p for its port, %v for
// VIP, %w for Weight and %% for a percent sign. Without a target nothing is
// replaced.
type Exec struct {
	Command []string
	User    string `json:",omitempty"` // runs with this account's rights; default: our own
	// Expect is what it has to write to its standard output, the whole of it apart
	// from white space around; empty: anything.
	Expect string `json:",omitempty"`
	// WeightFromExit: exit status 2 to 255 is success, too, and says that the
	// target's weight should be 0 to 253.
	WeightFromExit bool `json:",omitempty"`

	// What the command may want to know of the service. [Exec.With] sets them only
	// where it does, so that services share the probe otherwise.
	VIP    netip.Addr `json:",omitzero"` // invalid (firewall mark): %v is empty
	Weight uint32     `json:",omitempty"`
}

// Ping is a check by an ICMP or ICMPv6 echo request. The target's port is of no
// importance.
type Ping struct{}

// File is a check by a number in a file of this host. 0 or more is success, and
// the weight that the target should have; with 0 it gets no new connections. A
// negative number is failure, and so is a file without a number, or none.
type File struct {
	Path string
}

// Schedule says when a probe runs and how its results become a verdict. The first
// result of all decides at once, either way; Rise and Fall count after it.
type Schedule struct {
	Interval     time.Duration // from start to start
	FastInterval time.Duration // while results disagree with the verdict; 0: Interval
	Jitter       int           // percent of the interval, 0–50, by which a start is moved
	Rise         int           // successes in a row until up
	Fall         int           // failures in a row until down
}

// Job is a probe and its schedule. Whoever runs jobs, or shows them, holds pointers
// to the same ones: nobody may change a job that somebody else has.
type Job struct {
	Spec     Spec
	Schedule Schedule
}

// ID returns the same text for equal jobs and different texts for different
// ones. It is no secret and holds none.
func (j Job) ID() string {
	b, err := json.Marshal(j)
	if err != nil { // only maps of strings, numbers and text: cannot happen
		panic(fmt.Sprintf("check: encode job: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// Kind returns the name that the configuration has for the probe, such as tcp,
// https or imap.
func (s Spec) Kind() string {
	switch {
	case s.TLS != nil:
		return "tls"
	case s.GRPC != nil:
		return "grpc"
	case s.DNS != nil:
		return "dns"
	case s.SMTP != nil:
		return "smtp"
	case s.UDP != nil:
		return "udp"
	case s.Talk != nil:
		return s.Talk.Protocol
	case s.HTTP != nil && s.HTTP.TLS != nil:
		return "https"
	case s.HTTP != nil:
		return "http"
	case s.TCP != nil:
		return "tcp"
	case s.Exec != nil:
		return "exec"
	case s.Ping != nil:
		return "ping"
	case s.File != nil:
		return "file"
	case s.Agent != nil:
		return "agent"
	}
	return "none"
}

// Subject names what is probed: a target, or an address, a file or a program where
// there is none.
func (s Spec) Subject() string {
	switch {
	case s.File != nil:
		return s.File.Path
	case s.Exec != nil && len(s.Exec.Command) > 0 && !s.Target.IsValid():
		return s.Exec.Command[0]
	case s.Ping != nil:
		return s.Target.Addr().String()
	}
	return s.Target.String()
}

// Code is the short result of a probe, in the words that HAProxy made common.
type Code string

// The codes. L3 is the network, L4 the transport, L6 TLS, L7 the application, EX
// a program. A ping that fails has an L4 code, by what it failed of.
const (
	L3OK   Code = "L3OK"   // answered a ping
	L4OK   Code = "L4OK"   // connected
	L4TOUT Code = "L4TOUT" // no answer to the connect, or to the ping
	L4CON  Code = "L4CON"  // refused, unreachable or reset
	L6OK   Code = "L6OK"   // TLS established
	L6TOUT Code = "L6TOUT" // TLS handshake took too long
	L6RSP  Code = "L6RSP"  // TLS handshake failed
	L7OK   Code = "L7OK"   // the application answered, or the file holds, what is expected
	L7TOUT Code = "L7TOUT" // it answered too late
	L7RSP  Code = "L7RSP"  // its answer, or the file, was not understood or not as expected
	L7STS  Code = "L7STS"  // its answer, or the file, said no
	EXOK   Code = "EXOK"   // the program said yes
	EXERR  Code = "EXERR"  // it said no, or did not run
	EXTOUT Code = "EXTOUT" // it took too long and was killed
)

// OK reports whether the code means that the target works.
func (c Code) OK() bool {
	switch c {
	case L3OK, L4OK, L6OK, L7OK, EXOK:
		return true
	}
	return false
}

// Result is the outcome of one probe.
type Result struct {
	Code   Code
	Detail string // one sentence in plain words
	At     time.Time
	Took   time.Duration

	// Weighted: the probe also says which Weight its target should have, instead
	// of the configured one. See [Exec] and [File].
	Weighted bool   `json:",omitempty"`
	Weight   uint32 `json:",omitempty"`

	Word *Word `json:",omitempty"` // of an agent that was understood
}

// works reports whether the result is a success.
func (r *Result) works() bool { return r.Code.OK() || r.Word != nil }

// Verdict is what the runner makes of a job's results. Rise and Fall decide whether
// the target is up; weights and an agent's word count at once.
type Verdict struct {
	ID      string // the job's
	Up      bool
	Changed bool // differs from the last one in what it says, or is the first
	Result  Result

	// Weighted: the target is up and should have this Weight; see [Result].
	Weighted bool
	Weight   uint32
	Word     Word // of an agent: all that it has said and not taken back
}
