// Package strain looks at how the checks of the real program get on when some of
// them are stuck, or when this host can start no more processes: those of a
// thousand other servers must not wait for them. The servers judge, by when they
// are asked.
//
// Each test runs "baton run" on a host of its own. There need be no IPVS.
package strain
