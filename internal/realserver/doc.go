// Package realserver prepares a real server for DR and TUN: it gives the host the
// virtual addresses (VIPs) that directors send to it, without letting it answer
// for them on the network, and takes everything back.
//
// What is wanted ([Spec]) and what the kernel has ([Found]) make a list of [Step]s;
// that part is pure. What was done is remembered in a [Store], before it is done,
// so that it can be undone exactly, also after a crash half way. Status trusts the
// kernel only.
//
// Everything works in the network namespace of the calling thread.
package realserver
