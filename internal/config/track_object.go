package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"baton/internal/speaker"
)

// checkObject checks what is tracked, and reports whether it can be.
func (b *builder) checkObject(r *router, t *rawTrack, o object) bool {
	switch o.kind {
	case speaker.TrackInterface:
		b.checkOwnInterface(r, t)
	case speaker.TrackScript:
		return b.checkScript(t)
	case speaker.TrackPing:
		if a := t.Ping.v; a.IsLinkLocalUnicast() {
			b.add(t.Ping.at, "ping: %s is link-local, so it does not say on which link; allowed: another address of that host", a)
			return false
		}
	case speaker.TrackProcess:
		return b.checkProcess(t)
	case speaker.TrackService:
		if !b.isService(o.what) {
			b.add(t.Service.at, "service: there is no service %q%s", o.what, b.suggestService(o.what))
			return false
		}
	}
	if !t.Interval.bad && !t.Timeout.bad && t.Timeout.set && t.Timeout.v > t.Interval.v {
		b.add(t.Timeout.at, "timeout: %s is longer than the interval of %s", time.Duration(t.Timeout.v), time.Duration(t.Interval.v))
	}
	return true
}

// checkOwnInterface refuses to track what the router depends on anyway.
func (b *builder) checkOwnInterface(r *router, t *rawTrack) {
	if t.Interface.v == r.Interface.v && r.Track.own && !bool(t.Address.v) && t.UpDelay.v == 0 {
		b.add(t.Interface.at, "interface: without %s the router is in fault anyway, so this has no effect; allowed for it: address or up_delay", t.Interface.v)
	}
}

func (b *builder) checkScript(t *rawTrack) bool {
	for i := range t.Script.items {
		if t.Script.items[i].bad {
			return false
		}
	}
	command := t.command()
	if len(command) == 0 {
		b.add(t.Script.at, "script: the list is empty; allowed: the absolute path of a program and its arguments")
		return false
	}
	if !filepath.IsAbs(command[0]) {
		b.add(t.Script.items[0].at, "script: %s is not an absolute path; allowed: the absolute path of a program and its arguments", quote(command[0]))
		return false
	}
	for i, arg := range command {
		if strings.ContainsRune(arg, 0) {
			b.add(t.Script.items[i].at, "script: %s has a zero byte, which arguments cannot have", quote(arg))
			return false
		}
	}
	return true
}

func (b *builder) checkProcess(t *rawTrack) bool {
	p := string(t.Process.v)
	isRelative := strings.Contains(p, "/") && !filepath.IsAbs(p)
	if p == "" || isRelative || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		b.add(t.Process.at, "process: %s is not a program; allowed: a name such as nginx, or an absolute path such as /usr/sbin/nginx", quote(p))
		return false
	}
	return true
}

// isService reports whether the file has a service of that name, before services
// are built.
func (b *builder) isService(name string) bool {
	return slices.Contains(b.serviceNames(), name)
}

func (b *builder) serviceNames() []string {
	var names []string
	for i := range b.raw.Services.items {
		if n := &b.raw.Services.items[i].v.Name; n.ok() {
			names = append(names, string(n.v))
		}
	}
	return names
}

// suggestService says which services there are.
func (b *builder) suggestService(written string) string {
	return suggestName(written, b.serviceNames())
}
