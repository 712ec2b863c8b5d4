// Package config reads baton's configuration file.
//
// A file passes five stages, each in files of its own: YAML text becomes a tree
// that knows where each value stands (syntax, tree, env, include); the tree is
// decoded strictly into raw structs whose tags are the definition of the format
// (raw*, rule, decode, field, and scalar, interval, place, address, route_table,
// http for the types of values); blocks of defaults are handed down (defaults)
// and built-in defaults filled in (field); what cannot be said of one value
// alone is checked while the typed [Config] is built (build; router with moved,
// election, paths, auth, routes, sync and track; service, key, server, probe*).
//
// No stage stops at the first mistake: [Load] and [Parse] report all of them as
// [Errors], sorted by position. What is valid but questionable is in
// [Config.Warnings]. The result depends on the files alone, with those of the
// routers' secrets (secret), and on the environment only where a file says
// "env: true": it needs no interface, no kernel, and no root but for secrets that
// root alone may read.
package config
