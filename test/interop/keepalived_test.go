package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"baton/test/lab"
)

// keepalivedProgram is Debian's keepalived.
type keepalivedProgram struct{}

// newKeepalived is a member without a host, with the last number of its address.
func newKeepalived(number int) *member {
	return &member{program: keepalivedProgram{}, number: number}
}

func (keepalivedProgram) name() string { return "keepalived" }

func (keepalivedProgram) configure(m *member) {
	m.pair.t.Helper()
	mode := m.pair.mode
	var extra []string
	if m.nopreempt {
		extra = append(extra, "nopreempt")
	}
	if mode.unicast {
		extra = append(extra, "unicast_src_ip "+mode.address(m.number).String(),
			"unicast_peer {", "  "+mode.address(m.pair.other(m).number).String(), "}")
	}
	if m.password != "" {
		extra = append(extra, "authentication {", "  auth_type PASS", "  auth_pass "+m.password, "}")
	}
	globals := mode.keepalived
	if globals == nil {
		globals = recommended
	}
	// The owner of the addresses begins as master, everybody else as backup.
	state := "BACKUP"
	if m.priority == 255 {
		state = "MASTER"
	}
	// Real-time, as baton makes itself: a busy machine must not decide the election.
	text := fmt.Sprintf(`global_defs {
  router_id keepalived
  vrrp_rt_priority 10
  vrrp_version %d
%s}
vrrp_instance web {
  state %s
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int %g
%s  virtual_ipaddress {
    %s dev eth0
  }
}
`, mode.version, lines("  ", globals), state, m.priority, m.interval.Seconds(), lines("  ", extra), mode.vip())
	must(m.pair.t, os.WriteFile(filepath.Join(m.dir, "keepalived.conf"), []byte(text), 0o600))
}

func (keepalivedProgram) command(m *member) lab.Proc {
	m.pair.t.Helper()
	// What a killed one left behind: until an orphan is reaped, which some machines'
	// init takes seconds to do, its number counts as that of a running daemon.
	for _, file := range []string{m.parentPid(), m.vrrpPid()} {
		if err := os.Remove(file); !errors.Is(err, os.ErrNotExist) {
			must(m.pair.t, err)
		}
	}
	return lab.Proc{
		Args: []string{
			"keepalived", "--dont-fork", "--log-console", "--log-detail", "--no-syslog", "--vrrp",
			"--use-file", filepath.Join(m.dir, "keepalived.conf"),
			"--pid", m.parentPid(), "--vrrp_pid", m.vrrpPid(),
		},
		Env: []string{"TMPDIR=" + m.dir}, // for its dumps
	}
}

func (m *member) parentPid() string { return filepath.Join(m.dir, "pid") }
func (m *member) vrrpPid() string   { return filepath.Join(m.dir, "vrrp.pid") }

// dump is what keepalived tells of its instance.
type dump struct {
	Data struct {
		State int `json:"state"`
	} `json:"data"`
	Stats map[string]uint64 `json:"stats"`
}

// The kernel's first real-time signal is 32, the C library's 34; keepalived's
// dump is two above the latter ("keepalived --signum=JSON").
const signalJSON = syscall.Signal(36)

// inspect has keepalived write its dump, and reads it.
func (keepalivedProgram) inspect(m *member) (dump, error) {
	text, err := os.ReadFile(m.vrrpPid())
	if err != nil {
		return dump{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return dump{}, err
	}
	// Before it is ready the signal would end it.
	if !strings.Contains(m.proc.Output(), "Entering BACKUP STATE (init)") &&
		!strings.Contains(m.proc.Output(), "Entering MASTER STATE") {
		return dump{}, errors.New("keepalived has not begun yet")
	}
	file := filepath.Join(m.dir, "keepalived.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return dump{}, err
	}
	if err := syscall.Kill(pid, signalJSON); err != nil {
		return dump{}, err
	}
	for deadline := time.Now().Add(lab.Patience(2 * time.Second)); ; time.Sleep(2 * time.Millisecond) {
		var list []dump
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &list) // which fails while the file is half written
		}
		if err == nil && len(list) == 1 {
			return list[0], nil
		}
		if time.Now().After(deadline) {
			return dump{}, fmt.Errorf("keepalived writes no dump: %w", err)
		}
	}
}

func (k keepalivedProgram) state(m *member) (string, error) {
	d, err := k.inspect(m)
	if err != nil {
		return "", err
	}
	switch d.Data.State {
	case 0:
		return "init", nil
	case 1:
		return "backup", nil
	case 2:
		return "master", nil
	}
	return "fault", nil
}

func (k keepalivedProgram) rejected(m *member) (map[string]uint64, error) {
	d, err := k.inspect(m)
	if err != nil {
		return nil, err
	}
	wrong := map[string]uint64{}
	for name, n := range d.Stats {
		switch name {
		case "advert_rcvd", "advert_sent", "become_master", "release_master", "pri_zero_rcvd", "pri_zero_sent":
		default:
			if n > 0 {
				wrong[name] = n
			}
		}
	}
	return wrong, nil
}
