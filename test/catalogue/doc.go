// Package catalogue is what baton's discovery asks, for tests: a DNS server and an agent
// of Consul that say what the test wants, in the protocols as they are documented.
package catalogue
