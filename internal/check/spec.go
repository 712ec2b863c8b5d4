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
	Timeout   time.Duration  // for the whole probe, from connect to verdict

	TCP  *TCP  `json:",omitempty"`
	HTTP *HTTP `json:",omitempty"`
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
	Version         string            `json:",omitempty"` // "1.0" or "1.1" (default)
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

// Schedule says when a probe runs and how its results become a verdict. The first
// result of all decides at once, either way; Rise and Fall count after it.
type Schedule struct {
	Interval     time.Duration // from start to start
	FastInterval time.Duration // while results disagree with the verdict; 0: Interval
	Jitter       int           // percent of the interval, 0–50, by which a start is moved
	Rise         int           // successes in a row until up
	Fall         int           // failures in a row until down
}

// Job is a probe and its schedule.
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

// Kind returns the name that the configuration has for the probe: tcp, http,
// https.
func (s Spec) Kind() string {
	switch {
	case s.HTTP != nil && s.HTTP.TLS != nil:
		return "https"
	case s.HTTP != nil:
		return "http"
	case s.TCP != nil:
		return "tcp"
	}
	return "none"
}

// Code is the short result of a probe, in the words that HAProxy made common.
type Code string

// The codes. L4 is the transport, L6 TLS, L7 the application.
const (
	L4OK   Code = "L4OK"   // connected
	L4TOUT Code = "L4TOUT" // no answer to the connect
	L4CON  Code = "L4CON"  // refused, unreachable or reset
	L6OK   Code = "L6OK"   // TLS established
	L6TOUT Code = "L6TOUT" // TLS handshake took too long
	L6RSP  Code = "L6RSP"  // TLS handshake failed
	L7OK   Code = "L7OK"   // the application answered as expected
	L7TOUT Code = "L7TOUT" // it answered too late
	L7RSP  Code = "L7RSP"  // its answer was not understood or not as expected
	L7STS  Code = "L7STS"  // its answer said no (HTTP status)
)

// OK reports whether the code means that the target works.
func (c Code) OK() bool { return c == L4OK || c == L6OK || c == L7OK }

// Result is the outcome of one probe.
type Result struct {
	Code   Code
	Detail string // one sentence in plain words
	At     time.Time
	Took   time.Duration
}

// Verdict is what the runner makes of a job's results.
type Verdict struct {
	ID      string // the job's
	Up      bool
	Changed bool // differs from the last verdict, or is the first
	Result  Result
}
