// Package api is what baton shows and lets itself be told over HTTP and JSON:
// the documents, the server on the unix socket, and the client that the command
// line uses.
//
// The server knows the daemon only as an [Engine]. Documents are made from its
// [Snapshot] by pure functions, so that the API, the console and the command
// line show one truth. Errors are problem documents (RFC 9457). The routes are
// described by openapi.json, and a test holds the two against each other.
package api
