package config

import (
	"slices"
	"strings"
	"time"

	"baton/internal/speaker"
	"baton/internal/track"
)

// trackKeys are the keys that go with each kind of tracked object, beside the
// kind itself.
var trackKeys = map[speaker.TrackKind][]string{
	speaker.TrackInterface: {"weight", "address", "up_delay", "down_delay"},
	speaker.TrackScript:    {"weight", "interval", "timeout", "rise", "fall", "user"},
	speaker.TrackPing:      {"weight", "interval", "timeout", "rise", "fall"},
	speaker.TrackFile:      {"weight", "interval"},
	speaker.TrackProcess:   {"weight", "interval"},
	speaker.TrackService:   {"weight"},
}

// object is what a track entry looks at.
type object struct {
	kind speaker.TrackKind
	what string // as its name calls it
	at   pos
	bad  bool
}

// objects returns what an entry names; exactly one is right.
func (t *rawTrack) objects() []object {
	var out []object
	add := func(kind speaker.TrackKind, what string, f field, bad bool) {
		if at, set := f.isSet(); set {
			out = append(out, object{kind, what, at, bad})
		}
	}
	add(speaker.TrackInterface, string(t.Interface.v), &t.Interface, t.Interface.bad)
	add(speaker.TrackScript, strings.Join(t.command(), " "), &t.Script, t.Script.bad)
	add(speaker.TrackPing, t.Ping.v.String(), &t.Ping, t.Ping.bad)
	add(speaker.TrackFile, string(t.File.v), &t.File, t.File.bad)
	add(speaker.TrackProcess, string(t.Process.v), &t.Process, t.Process.bad)
	add(speaker.TrackService, string(t.Service.v), &t.Service, t.Service.bad)
	return out
}

func (t *rawTrack) command() []string {
	var out []string
	for i := range t.Script.items {
		out = append(out, string(t.Script.items[i].v))
	}
	return out
}

func (b *builder) buildTracks(r *router) {
	names := make(map[string]pos)
	for i := range r.Track.items {
		raw := &r.Track.items[i]
		if raw.bad {
			continue
		}
		o, ok := b.objectOf(raw)
		if !ok {
			continue
		}
		b.checkTrackKeys(&raw.v, o.kind)
		weight := b.weightOf(r, &raw.v, o)
		if o.bad || !b.checkObject(r, &raw.v, o) {
			continue
		}
		out := speaker.Track{Name: string(o.kind) + " " + o.what, Kind: o.kind, Weight: weight}
		if first, twice := names[out.Name]; twice {
			b.add(o.at, "track: %s is tracked already, at %s", quote(out.Name), first)
			continue
		}
		names[out.Name] = o.at
		if o.kind == speaker.TrackInterface {
			out.Interface = string(raw.v.Interface.v)
			out.Address = bool(raw.v.Address.v)
			out.UpDelay, out.DownDelay = time.Duration(raw.v.UpDelay.v), time.Duration(raw.v.DownDelay.v)
		}
		r.out.Track = append(r.out.Track, out)
		if o.kind != speaker.TrackInterface { // at which the speaker looks itself
			b.cfg.Tracks = append(b.cfg.Tracks, watched(r, &raw.v, out))
		}
	}
	b.checkReach(r)
}

// rereadFile is how often a file is read although the kernel tells of no change.
const rereadFile = 5 * time.Second

// watched builds an object for the room that watches it.
func watched(r *router, t *rawTrack, spec speaker.Track) track.Object {
	out := track.Object{Router: r.out.Name, Name: spec.Name, Weight: spec.Weight}
	if spec.Kind != speaker.TrackService {
		out.Interval = time.Duration(t.Interval.v)
	}
	switch spec.Kind {
	case speaker.TrackScript:
		out.Script = &track.Script{Command: t.command(), User: string(t.User.v)}
	case speaker.TrackPing:
		out.Ping = &track.Ping{Address: t.Ping.v.Addr}
	case speaker.TrackFile:
		out.File = &track.File{Path: string(t.File.v)}
		if !t.Interval.set {
			out.Interval = rereadFile
		}
		return out
	case speaker.TrackProcess:
		out.Process = &track.Process{Name: string(t.Process.v)}
		return out
	case speaker.TrackService:
		out.Service = &track.Service{Name: string(t.Service.v)}
		return out
	}
	out.Timeout = time.Duration(min(t.Timeout.v, t.Interval.v))
	out.Rise, out.Fall = int(t.Rise.v), int(t.Fall.v)
	return out
}

// objectOf returns the one object that an entry names.
func (b *builder) objectOf(raw *block[rawTrack]) (object, bool) {
	all := raw.v.objects()
	switch {
	case len(all) == 1:
		return all[0], true
	case len(all) == 0 && !raw.odd: // else the kind is perhaps the key that was refused
		b.add(raw.at, "track: found nothing to look at; allowed: one of interface, script, ping, file, process, service")
	case len(all) > 1:
		b.add(raw.at, "track: found %s and %s; allowed: one of them in each entry", all[0].kind, all[1].kind)
	}
	return object{}, false
}

// checkTrackKeys refuses keys that say nothing of that kind of object.
func (b *builder) checkTrackKeys(t *rawTrack, kind speaker.TrackKind) {
	own := trackKeys[kind]
	fields(t, func(r *rule, f field) {
		if at, set := f.isSet(); set && r.key != string(kind) && !slices.Contains(own, r.key) {
			b.add(at, "%s: it has no meaning for %s; allowed with it: %s", r.key, kind, strings.Join(own, ", "))
		}
	})
}

// weightOf returns the weight of an entry, and refuses one that changes nothing.
// A file without one counts as it is.
func (b *builder) weightOf(r *router, t *rawTrack, o object) int {
	w := &t.Weight
	isFile := o.kind == speaker.TrackFile && !w.set
	if !r.isOwner() || !r.Track.own {
		if isFile {
			return 1
		}
		return int(w.v)
	}
	switch {
	case isFile:
		b.add(o.at, "file: its number changes the priority, and 255 never changes; write weight: 0 for a router that is in fault while the number is not 0")
	case w.ok() && w.v != 0:
		b.add(w.at, "weight: %d has no effect with priority 255, which never changes; leave it out for a router that is in fault without the %s", w.v, o.kind)
	}
	return int(w.v)
}

// checkReach warns of weights that the priority has no room for.
func (b *builder) checkReach(r *router) {
	if r.Priority.bad || r.isOwner() {
		return
	}
	sum := int(r.Priority.v)
	for _, t := range r.out.Track {
		if t.Weight > 0 && t.Kind != speaker.TrackFile {
			sum += t.Weight
		}
	}
	if sum > 254 {
		b.warn(r.Track.at, "track: the priority of router %q, %d, and its positive weights make %d, which is cut to 254; lower the priority", r.Name.v, r.Priority.v, sum)
	}
}
