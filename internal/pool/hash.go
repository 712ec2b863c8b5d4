package pool

// A scheduler that hashes does not go round a server of weight 0: the clients of
// its part of the hash are refused (ip_vs_sh_get, ip_vs_mh_get, ip_vs_dh_schedule).
// A server is at weight 0 here so that others get its clients: because it drains,
// because it failed and is quiesced, because the fallback serves, or because an
// operator wants it.

// diverts reports whether such clients have to be sent to another server by the
// flag that sh and mh have for it, whether or not it is configured.
func (s *service) diverts() bool {
	if s.spec.Scheduler != "sh" && s.spec.Scheduler != "mh" {
		return false
	}
	for srv := range s.all() {
		if weight, in := srv.place(); in && weight == 0 && (srv.spec.Weight > 0 || srv.wanted.Weighs) {
			return true
		}
	}
	return false
}

// keepsPlaces reports whether a server can have a place without getting clients.
// With dh, which has no such flag, the clients would be refused for as long as the
// server has connections: it is taken out at once.
func (s *service) keepsPlaces() bool { return s.spec.Scheduler != "dh" }
