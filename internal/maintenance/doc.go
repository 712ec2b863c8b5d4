// Package maintenance watches a folder in which a file that is named like a real
// server means that the server is to drain.
//
// The folder is looked at when the kernel tells of a change (inotify), and every
// few seconds besides, for file systems of other hosts tell nothing. What could not
// be read does not change what was read before: a file server that is down must not
// bring servers back into service.
package maintenance
