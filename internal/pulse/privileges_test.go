package pulse

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func troupeCommand(mode string) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	return cmd
}

// All threads get the real-time class, and the child gets the ordinary one back.
func TestFavour(t *testing.T) {
	if out, err := troupeCommand("class").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is missing is named, and nothing else.
func TestPermitted(t *testing.T) {
	if err := Permitted(); err != nil {
		t.Fatalf("these tests need root: %v", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Capset(&header, &all[0]); err != nil {
			t.Fatal(err)
		}
	}()
	for _, tt := range []struct {
		without []uint
		want    string
	}{
		{[]uint{unix.CAP_NET_RAW}, "lacks CAP_NET_RAW: "},
		{[]uint{unix.CAP_NET_ADMIN}, "lacks CAP_NET_ADMIN: "},
		{[]uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}, "lacks CAP_NET_ADMIN and CAP_NET_RAW: "},
	} {
		fewer := all
		for _, bit := range tt.without {
			fewer[bit/32].Effective &^= 1 << (bit % 32)
		}
		if err := unix.Capset(&header, &fewer[0]); err != nil {
			t.Fatal(err)
		}
		err := Permitted()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "run it as root (sudo baton run)") {
			t.Errorf("without %v: %v", tt.without, err)
		}
	}
}
