package pool

import "testing"

func scheduler(name string) func(*Service) {
	return func(s *Service) { s.Scheduler = name }
}

// With a hash a server at weight 0 must not keep its clients from the others.
func TestHashAndWeightZero(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before []func(*Service)
		say    []string
		after  []func(*Service) // nil: no change
		want   string
		flags  Flags
	}{
		{name: "sh, all serve", before: []func(*Service){scheduler("sh")}, say: []string{"a", "b"}, want: "10.0.0.1:80*1 10.0.0.2:80*2"},
		{
			name: "sh, one drains", before: []func(*Service){scheduler("sh")}, say: []string{"a", "b"},
			after: []func(*Service){scheduler("sh"), without(1)}, want: "10.0.0.1:80*1 10.0.0.2:80*0", flags: Sched1,
		},
		{
			name: "mh, one is quiesced", before: []func(*Service){scheduler("mh"), quiesce}, say: []string{"a", "b", "-b"},
			want: "10.0.0.1:80*1 10.0.0.2:80*0", flags: Sched1,
		},
		{
			name: "mh, the fallback serves", before: []func(*Service){scheduler("mh"), sorry, quorum(3, 0)}, say: []string{"a", "b", "-b"},
			want: "10.0.0.1:80*0 10.0.0.9:80*1", flags: Sched1,
		},
		{
			name: "sh, a weight of 0 that was asked for", before: []func(*Service){scheduler("sh"), func(s *Service) { s.Servers[1].Weight = 0 }},
			say: []string{"a", "b"}, want: "10.0.0.1:80*1 10.0.0.2:80*0",
		},
		{
			name: "wlc has no such flag", before: nil, say: []string{"a", "b"},
			after: []func(*Service){without(1)}, want: "10.0.0.1:80*1 10.0.0.2:80*0",
		},
		{
			name: "dh, one would drain", before: []func(*Service){scheduler("dh")}, say: []string{"a", "b"},
			after: []func(*Service){scheduler("dh"), without(1)}, want: "10.0.0.1:80*1",
		},
		{
			name: "dh, one is told to drain", before: []func(*Service){scheduler("dh")}, say: []string{"a", "b"},
			after: []func(*Service){scheduler("dh"), drain}, want: "10.0.0.1:80*1",
		},
		{
			name: "dh, one would be quiesced", before: []func(*Service){scheduler("dh"), quiesce}, say: []string{"a", "b", "-b"},
			want: "10.0.0.1:80*1",
		},
		{
			name: "dh, the fallback serves", before: []func(*Service){scheduler("dh"), sorry, quorum(3, 0)}, say: []string{"a", "b", "-b"},
			want: "10.0.0.9:80*1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.before...))
			say(p, tt.say...)
			if tt.after != nil {
				p.Reconfigure([]Service{web(tt.after...)})
			}
			if got := servers(t, p); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := p.Table()[0].Flags; got != tt.flags {
				t.Errorf("flags %#x, want %#x", got, tt.flags)
			}
		})
	}
}
