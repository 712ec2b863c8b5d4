// Package director is the process that knows everything but the clock of the
// routers: the configuration, the checks, the kernel's table, the API and the
// metrics.
//
// It is the child of pulse. When pulse dies, it executes pulse's will and ends;
// when it dies itself, pulse goes on and starts another one.
package director
