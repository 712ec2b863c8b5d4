// Package network makes the kernel's addresses and sysctls equal a desired
// state, and reports changes of links and addresses.
package network
