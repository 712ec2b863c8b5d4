// Package config reads baton's configuration file.
//
// A file passes five stages, each in files of its own: YAML text becomes a tree
// that knows where each value stands (tree, include, env); the tree is decoded
// strictly into raw structs whose tags are the definition of the format (raw,
// decode, scalar); blocks of defaults are inherited and built-in defaults filled
// in (inherit); what cannot be said of one value alone is checked while the
// typed [Config] is built (router, service, server, probe, daemon).
//
// No stage stops at the first mistake: [Load] and [Parse] report all of them as
// [Errors], sorted by position. The result depends on the files alone (and on
// the environment only where a file says "env: true"): it needs no root, no
// interface and no kernel.
package config
