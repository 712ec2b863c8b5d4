package network

import (
	"testing"

	"github.com/vishvananda/netlink/nl"
)

// Whatever comes in a message, reading it ends with a result or without one.
func FuzzMessages(f *testing.F) {
	for _, r := range someRoutes {
		k, err := route(r).kernelTerms()
		if err != nil {
			f.Fatal(err)
		}
		head, attrs := k.message()
		f.Add(serialize(head, attrs))
	}
	for _, s := range someRules {
		r, err := rule(s).kernelTerms()
		if err != nil {
			f.Fatal(err)
		}
		head, attrs := r.message()
		f.Add(serialize(head, attrs))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, ok := parseRoute(data); ok {
			if !k.to.IsValid() {
				t.Errorf("a route to %v", k.to)
			}
			_ = k.ourTerms("eth0").String()
		}
		if r, ok := parseRule(data); ok {
			_ = r.Rule.String()
		}
		parseLink(data)
		parseAddress(data)
	})
}

func serialize(head *nl.RtMsg, attrs []*nl.RtAttr) []byte {
	b := append([]byte(nil), head.Serialize()...)
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

// What is sent is what is read back.
func TestMessagesRoundTrip(t *testing.T) {
	for _, s := range someRoutes {
		want, err := route(s).kernelTerms()
		must(t, err)
		head, attrs := want.message()
		got, ok := parseRoute(serialize(head, attrs))
		if !ok || got.protocol != Protocol || !want.same(got) {
			t.Errorf("%s: %+v became %+v", s, want, got)
		}
	}
	for _, s := range someRules {
		want, err := rule(s).kernelTerms()
		must(t, err)
		head, attrs := want.message()
		got, ok := parseRule(serialize(head, attrs))
		if !ok || got.protocol != Protocol || !want.same(got) {
			t.Errorf("%s: %+v became %+v", s, want, got)
		}
	}
}
