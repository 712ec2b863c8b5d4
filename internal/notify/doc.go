// Package notify tells the outside of what happens, by running programs: in order,
// bounded, and without ever blocking those who tell it.
package notify
