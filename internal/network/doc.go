// Package network makes the kernel's addresses, routes, rules, virtual links and
// sysctls equal a desired state, and reports changes of them.
//
// Everything that it sets carries a mark: addresses, routes and rules the number
// [Protocol], links an alias that begins with "baton". The mark tells what is
// ours: nothing else is ever changed or removed, and what a crash left behind is
// found again by it. Addresses have, if the owner wishes, a lifetime after which
// the kernel removes them by itself. All this needs no memory but the kernel's.
//
// A [Manager] works in the network namespace that it was opened in, whichever
// thread its methods are called on; where threads of the program are in different
// ones, setting up a virtual link needs CAP_SYS_ADMIN beside CAP_NET_ADMIN, to
// reach the right /proc/sys. The sysctl functions themselves work in the namespace
// of the calling thread, because /proc/sys does.
package network
