package api

import (
	"net"
	"slices"
	"time"
)

// Routes returns the methods of every path.
func (s *Server) Routes() map[string][]string {
	out := map[string][]string{}
	for path, m := range s.routes() {
		for method := range m {
			out[path] = append(out[path], method)
		}
		slices.Sort(out[path])
	}
	return out
}

// SetKeepAlive sets the time between comments on a quiet stream.
func (s *Server) SetKeepAlive(d time.Duration) { s.keepAlive = d }

// ListenAs is Listen for a group by number.
func ListenAs(path string, gid int) (net.Listener, error) { return listen(path, gid) }

// Limits that tests go to.
const (
	MaxStreams   = maxStreams
	MaxBody      = maxBody
	StreamBuffer = streamBuffer
)

// PeerName is the name of a user of the socket, and LoginOf who logged in.
var (
	PeerName = peerName
	LoginOf  = loginOf
)

// NoLogin is the login of a process that nobody logged in for.
const NoLogin = noLogin

// OpenAPI is the embedded description.
func OpenAPI() []byte { return openAPI }
