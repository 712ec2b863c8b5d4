package scene

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"baton/internal/api"
	"baton/test/lab"
)

// Director is one director.
type Director struct {
	Name    string
	Host    *lab.Host
	Config  string // path of its file
	Socket  string // of its API
	LogFile string
	baton   string
	process *lab.Process
}

// Start starts baton on the director.
func (d *Director) Start() {
	d.process = d.Host.Start(lab.Proc{Args: []string{d.baton, "run", "-c", d.Config}, Log: d.LogFile})
}

// Stop is the planned stop: SIGTERM to the main process, as a service manager
// does.
func (d *Director) Stop() error { return d.process.Stop(30 * time.Second) }

// Crash kills all processes of the director at once.
func (d *Director) Crash() { d.process.Kill() }

// Process is pulse, with the director as its child.
func (d *Director) Process() *lab.Process { return d.process }

// HasVIP reports whether the kernel has the VIP on the director.
func (d *Director) HasVIP() bool { return d.Host.Has(VIP.String()) }

// Status asks the daemon.
func (d *Director) Status() (api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := api.Dial(d.Socket)
	defer client.Close()
	return client.Status(ctx)
}

// ready returns nil when the daemon uses every server of every service.
func (d *Director) ready() error {
	st, err := d.Status()
	if err != nil {
		return err
	}
	if len(st.Services) == 0 {
		return errors.New("it knows no services yet")
	}
	for _, svc := range st.Services {
		for _, server := range svc.Servers {
			if server.State != "up" || !server.InKernel {
				return fmt.Errorf("server %s of %s is %s: %s", server.Address, svc.Name, server.State, server.Reason)
			}
		}
	}
	return nil
}

// Child is the process id of the director process, the child of pulse.
func (d *Director) Child() (int, error) {
	for _, pid := range d.process.Tree() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(line), "\x00"); err == nil && len(args) > 1 && args[1] == "director" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s runs no director process", d.Name)
}

// Metrics is what Prometheus would get.
func (d *Director) Metrics() (string, error) {
	resp, err := d.Host.Client(10 * time.Second).Get("http://127.0.0.1:9165/metrics")
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("metrics of %s: %s", d.Name, resp.Status)
	}
	return string(text), nil
}

// ServersUp is how many servers the daemon uses.
func (d *Director) ServersUp() (int, error) {
	st, err := d.Status()
	if err != nil {
		return 0, err
	}
	up := 0
	for _, svc := range st.Services {
		for _, server := range svc.Servers {
			if server.State == "up" && server.InKernel {
				up++
			}
		}
	}
	return up, nil
}

// Baton runs a command of baton against the director.
func (d *Director) Baton(ctx context.Context, args ...string) (string, error) {
	return d.Host.Run(ctx, d.baton, append(args, "--socket", d.Socket)...)
}

// Table is what ipvsadm says.
func (d *Director) Table() (string, error) {
	return d.Host.Run(context.Background(), "ipvsadm", "-Ln")
}
