// Package program runs a program, bounded in time and output, and leaves nothing of
// it behind.
package program
