//go:build vm

package e2e

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/test/lab"
)

// TestPreparedRealServer prepares a real server by "baton realserver up" alone,
// for each way in which a director can forward to it, and takes it back each time.
// The director is ipvsadm, so that nothing else of baton helps. Its VIPs are
// ordinary addresses: over IPv6 its kernel then chooses the VIP as the source of
// what it sends through a tunnel.
func TestPreparedRealServer(t *testing.T) {
	l := lab.New(t)
	bridge := l.Bridge("lan")
	client, director, web := l.Host("client"), l.Host("director"), l.Host("web")
	for i, h := range []*lab.Host{client, director, web} {
		h.Connect(bridge, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("fd00::%d/64", i+1))
	}
	director.Address("eth0", "10.0.0.104/32", "10.0.0.106/32", "fd00::104/128", "fd00::106/128")
	// As many distributions have it: what comes in by a tunnel is dropped.
	web.Sysctl("net.ipv4.conf.all.rp_filter", "1")
	web.Sysctl("net.ipv4.conf.default.rp_filter", "1")
	serve(t, web)
	state := filepath.Join(t.TempDir(), "state.json")
	baton := func(args ...string) string {
		t.Helper()
		out, err := web.Run(context.Background(), batonPath, append(append([]string{"realserver"}, args...), "--state", state)...)
		must(t, err)
		return out
	}
	before := settings(t, web)

	for _, c := range []struct {
		name, options string // of baton
		flags         string // of ipvsadm
	}{
		{"dr", "--forward dr", "-g"},
		{"ipip", "--forward tun", "-i"},
		{"gre", "--forward tun --tunnel gre", "-i --tun-type gre"},
		{"gue", "--forward tun --tunnel gue --port 6080", "-i --tun-type gue --tun-port 6080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := strings.Fields("up " + c.options)
			// To the real server's IPv4 address goes what is for the VIPs that end in 4.
			if c.name == "dr" {
				program(t, director, c.flags, map[string]string{"10.0.0.104": "10.0.0.3", "fd00::104": "fd00::3"})
				baton(append(up, "--vip", "10.0.0.104", "fd00::104")...)
				check(t, client, "10.0.0.104", "[fd00::104]")
			} else {
				program(t, director, c.flags, map[string]string{
					"10.0.0.104": "10.0.0.3", "fd00::104": "10.0.0.3", "10.0.0.106": "fd00::3", "fd00::106": "fd00::3",
				})
				baton(append(up, "--outer", "inet", "--vip", "10.0.0.104", "fd00::104")...)
				baton(append(up, "--outer", "inet6", "--vip", "10.0.0.106", "fd00::106")...)
				check(t, client, "10.0.0.104", "[fd00::104]", "10.0.0.106", "[fd00::106]")
			}
			if c.name == "gue" {
				if out := baton("status"); strings.Contains(out, "BAD") || strings.Count(out, "  ok\n") != 4 {
					t.Errorf("status: %s", out)
				}
				if out := baton(append(up, "--outer", "inet6", "--vip", "10.0.0.106", "fd00::106")...); out != "nothing to change\n" {
					t.Errorf("up again: %s", out)
				}
			}
			out := baton("down", "--all")
			if diff := cmp.Diff(before, settled(before, settings(t, web))); diff != "" {
				t.Errorf("down did not restore everything (-before +after):\n%s\n%s", diff, out)
			}
		})
	}
	if body, err := get(client, "http://10.0.0.104/", 500*time.Millisecond); err == nil {
		t.Errorf("answered without a prepared real server: %q", body)
	}
}

// check gets a page of each VIP.
func check(t *testing.T, client *lab.Host, vips ...string) {
	t.Helper()
	for _, vip := range vips {
		if body, err := get(client, "http://"+vip+"/", 3*time.Second); err != nil || body != "web" {
			t.Errorf("%s: %q, %v", vip, body, err)
		}
	}
}

// serve answers HTTP on the host, to both families.
func serve(t *testing.T, h *lab.Host) {
	t.Helper()
	listener, err := h.Listen("tcp", "[::]:80")
	must(t, err)
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, h.Name()) }),
	}
	go server.Serve(listener) //nolint:errcheck // it ends when it is closed
	t.Cleanup(func() { _ = server.Close() })
}

func get(h *lab.Host, url string, within time.Duration) (string, error) {
	resp, err := h.Client(within).Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// program gives the director one service for each VIP, with one real server.
func program(t *testing.T, director *lab.Host, flags string, real map[string]string) {
	t.Helper()
	var rules strings.Builder
	for vip, server := range real {
		vip, server = net.JoinHostPort(vip, "80"), net.JoinHostPort(server, "80")
		fmt.Fprintf(&rules, "-A -t %s -s rr\n-a -t %s -r %s %s\n", vip, vip, server, flags)
	}
	_, err := director.Run(context.Background(), "sh", "-c", "ipvsadm -C && printf %s '"+rules.String()+"' | ipvsadm -R")
	must(t, err)
}

// settings are all of IPv4 and IPv6 on all interfaces, the addresses, which
// interfaces are up, and the ports of GUE.
func settings(t *testing.T, h *lab.Host) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, h.Do(func() error {
		for _, family := range []string{"ipv4", "ipv6"} {
			err := filepath.WalkDir("/proc/sys/net/"+family+"/conf", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if b, err := os.ReadFile(path); err == nil { // some cannot be read before they are set
					out[path] = string(b)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	for _, command := range []string{"ip -br link", "ip -br address"} {
		text, err := h.Run(context.Background(), "sh", "-c", command)
		must(t, err)
		for line := range strings.Lines(text) {
			name, rest, _ := strings.Cut(line, " ")
			out[command+" "+name] = strings.Join(strings.Fields(rest), " ")
		}
	}
	text, err := h.Run(context.Background(), "sh", "-c", "! test -d /sys/module/fou || ip fou show")
	must(t, err)
	out["fou"] = text
	return out
}

// settled leaves out interfaces that have come with a module, are down and have
// no address: modules stay loaded. Where the module was there before, the tunnel's
// own interface was, too, without any settings of IPv6: the kernel gives it those
// when it is up for the first time, and does not take them back (addrconf_notify).
func settled(before, after map[string]string) map[string]string {
	const ipv6 = "/proc/sys/net/ipv6/conf/"
	had := map[string]bool{}
	for key := range before {
		if rest, ok := strings.CutPrefix(key, ipv6); ok {
			name, _, _ := strings.Cut(rest, "/")
			had[name] = true
		}
	}
	maps.DeleteFunc(after, func(key, _ string) bool {
		rest, ok := strings.CutPrefix(key, ipv6)
		name, _, _ := strings.Cut(rest, "/")
		return ok && !had[name]
	})
	const links = "ip -br link "
	for key := range after {
		name, ok := strings.CutPrefix(key, links)
		if _, known := before[key]; !ok || known || !strings.HasPrefix(after[key], "DOWN") {
			continue
		}
		short, _, _ := strings.Cut(name, "@")
		if slices.Contains([]string{"DOWN", ""}, after["ip -br address "+name]) {
			maps.DeleteFunc(after, func(k, _ string) bool {
				return strings.HasSuffix(k, " "+name) || strings.Contains(k, "/"+short+"/")
			})
		}
	}
	return after
}
