// Package network makes the kernel's addresses and sysctls equal a desired
// state, and reports changes of links and addresses.
//
// Every address that it sets carries the mark [Protocol] and, if the owner
// wishes, a lifetime after which the kernel removes it by itself. The mark tells
// what is ours: nothing else is ever changed or removed, and what a crash left
// behind is found again by it. Both need no memory but the kernel's.
//
// A [Manager] works in the network namespace that it was opened in, whichever
// thread its methods are called on. The sysctl functions work in the namespace
// of the calling thread, because /proc/sys does.
package network
