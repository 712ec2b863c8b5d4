// Package discovery finds the real servers of services outside of the
// configuration: in files, in the DNS and in Consul.
//
// What a source says is not believed blindly. A source that fails, answers with
// nothing, or loses most of its servers at once keeps the servers that it had: the
// checks of the servers say which of them work, and a catalogue that is broken must
// not take down a service that is not.
package discovery
