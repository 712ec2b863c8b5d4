package scene

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"baton/test/lab"
)

// RealServer is one real server.
type RealServer struct {
	Name    string
	Host    *lab.Host
	Address netip.AddrPort
	Weight  int
	dir     string
	listen  string // nginx's directives
	process *lab.Process
}

// Start starts the web server.
func (r *RealServer) Start() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	conf := filepath.Join(r.dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(nginxConfig, r.dir, r.dir, r.listen, r.Name)), 0o644); err != nil {
		return err
	}
	r.process = r.Host.Start(lab.Proc{
		Args: []string{"nginx", "-p", r.dir, "-c", conf, "-e", "stderr"}, Log: filepath.Join(r.dir, "log"),
	})
	return nil
}

// Kill kills the web server.
func (r *RealServer) Kill() { r.process.Kill() }

const nginxConfig = `daemon off;
worker_processes 1;
user root;
pid %s/nginx.pid;
error_log stderr;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path %s;
  server {
    %s
    default_type text/plain;
    location / { return 200 "%s\n"; }
  }
}
`
