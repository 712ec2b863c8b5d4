package interop

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// tsharkOptions have tshark verify what it does not by default. Of addresses that
// are seen with two hardware addresses it does not warn: they move.
var tsharkOptions = []string{
	"-n", "-o", "ip.check_checksum:TRUE", "-o", "vrrp.v3_checksum_as_in_v2:FALSE", "-o", "arp.detect_duplicate_ips:FALSE",
}

// tsharkFields are the columns of verdict.
var tsharkFields = []string{
	"frame.number", "eth.src", "vrrp.version", "ip.checksum.status", "vrrp.checksum.status", "icmpv6.checksum.status",
	"_ws.malformed", "_ws.expert.severity", "_ws.expert.message",
}

// verdict is what tshark says of a frame.
type verdict struct {
	frame, mac, version, ip, vrrp, icmpv6, malformed, severity, message string
}

const (
	tsharkBad  = "0" // of a checksum status
	tsharkGood = "1"
	tsharkWarn = 0x600000
)

// faults are what a reader of the verdict should worry about.
func (v verdict) faults() []string {
	var out []string
	for name, status := range map[string]string{"IP": v.ip, "VRRP": v.vrrp, "ICMPv6": v.icmpv6} {
		if status != "" && status != tsharkGood {
			out = append(out, name+" checksum status "+status)
		}
	}
	if v.malformed != "" {
		out = append(out, "malformed: "+v.malformed)
	}
	for s := range strings.SplitSeq(v.severity, ",") {
		if n, err := strconv.Atoi(s); err == nil && n >= tsharkWarn {
			out = append(out, "expert: "+v.message)
		}
	}
	slices.Sort(out)
	return out
}

// misread reports whether the VRRP checksum is all that is wrong.
func (v verdict) misread() bool {
	return v.vrrp == tsharkBad && slices.Equal(v.faults(), []string{"VRRP checksum status " + tsharkBad, "expert: " + v.message})
}

// verdicts has tshark decode everything that crossed the wire.
func (p *pair) verdicts(t testing.TB) []verdict {
	t.Helper()
	file := filepath.Join(t.TempDir(), "wire.pcap")
	must(t, p.wire.Stop())
	must(t, p.wire.WritePcap(file))
	args := append(slices.Clone(tsharkOptions), "-r", file, "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a")
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	var stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(30*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, "tshark", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, &stderr)
	}
	var list []verdict
	for line := range strings.Lines(string(out)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != len(tsharkFields) {
			t.Fatalf("tshark says %q", line)
		}
		list = append(list, verdict{c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]})
	}
	return list
}

// decode is the end of every pair: a third reader of the protocol finds nothing
// wrong with what either sent.
func (p *pair) decode(t testing.TB) {
	t.Helper()
	adverts, misread := map[*member]int{}, map[*member]int{}
	for _, v := range p.verdicts(t) {
		from := p.member(v.mac)
		if from != nil && v.version != "" {
			adverts[from]++
			p.checkAdvert(t, from, v)
		}
		switch faults := v.faults(); {
		case len(faults) == 0:
		case from != nil && from == p.misreads && v.misread():
			if misread[from]++; misread[from] == 1 {
				t.Logf("tshark on an advert of %s: %s", from, v.message)
			}
		default:
			t.Errorf("frame %s of %v: %s", v.frame, from, strings.Join(faults, "; "))
		}
	}
	for _, m := range []*member{p.baton, p.keepalived} {
		if adverts[m] == 0 {
			t.Errorf("%s sent no advert: nothing is proved", m)
		}
	}
	if p.misreads != nil && misread[p.misreads] == 0 {
		t.Errorf("tshark agrees with every checksum of %s", p.misreads)
	}
}

// checkAdvert holds what tshark read against the mode.
func (p *pair) checkAdvert(t testing.TB, from *member, v verdict) {
	t.Helper()
	if v.version != strconv.Itoa(p.mode.version) {
		t.Errorf("frame %s: %s speaks version %s", v.frame, from, v.version)
	}
	if v.vrrp == "" {
		t.Errorf("frame %s: tshark has not looked at the checksum of %s", v.frame, from)
	}
}

// member is the one with a hardware address; nil: somebody else.
func (p *pair) member(mac string) *member {
	for _, m := range []*member{p.baton, p.keepalived} {
		if m.mac() == mac {
			return m
		}
	}
	return nil
}
