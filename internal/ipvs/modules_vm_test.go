//go:build vm

package ipvs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hide lays a file with that content over another one until the returned function
// is called. What the kernel itself would refuse for good, such as
// modules_disabled, can be tried that way.
func hide(t *testing.T, path, content string) (back func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	err := os.WriteFile(file, []byte(content), 0o644)
	if err == nil {
		err = unix.Mount(file, path, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Fatalf("hide %s: %v", path, err)
	}
	hidden := true
	back = func() {
		if hidden {
			hidden = unix.Unmount(path, 0) != nil
		}
	}
	t.Cleanup(back)
	return back
}

// FTP with NAT needs a module that the kernel never loads by itself. Without it
// the service is there all the same, and says what it lacks.
func TestVMModulesThatCannotBeLoaded(t *testing.T) {
	autoload(t, "/bin/false")
	unload(t)
	h := newHost(t)
	k := h.open(Options{})
	// All of these at once: schedulers are loaded by need.
	ftp := service("tcp 10.0.0.100:21 rr", server("10.0.0.11:21 nat 1"))
	direct := service("tcp 10.0.0.101:21 rr", server("10.0.0.11:21 dr 1"))
	plain := service("tcp 10.0.0.100:80 rr", server("10.0.0.11:80 nat 1"))
	want := table(ftp, direct, plain)
	a := mustApply(t, NewReconciler(k, nil, silent()), want)
	assertClean(t, a)
	if lacking := k.Lacking(t.Context(), want); len(lacking) != 0 || !moduleThere(ftpModule) {
		t.Errorf("lacking %v", lacking)
	}
	h.ipvsadm("-C")
	unload(t)
	k.modules = newModules(true)
	assertClean(t, mustApply(t, NewReconciler(k, nil, silent()), table(plain)))

	mh := service("tcp 10.0.0.100:81 mh")
	for _, tt := range []struct{ path, content, why string }{
		{"/proc/sys/kernel/modules_disabled", "1\n", "kernel.modules_disabled=1"},
		{modprobePath(), "", "there is no modprobe on this host"},
		{modprobePath(), "#!/bin/sh\necho no such module >&2\nexit 1\n", "no such module"},
	} {
		back := hide(t, tt.path, tt.content)
		if strings.HasPrefix(tt.content, "#!") {
			if err := os.Chmod(tt.path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		k.modules = newModules(true)
		r := NewReconciler(k, nil, silent())
		for range 2 { // the second time from memory
			a := mustApply(t, r, append(table(mh), want...))
			if err := a.Failed[mh.Key]; len(a.Failed) != 1 || err == nil || !strings.Contains(err.Error(), `no scheduler "mh": modprobe ip_vs_mh`) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("failed %v, want %q", a.Failed, tt.why)
			}
			lacking := k.Lacking(t.Context(), want)
			if err := lacking[ftp.Key]; len(lacking) != 1 || err == nil || !strings.Contains(err.Error(), "modprobe ip_vs_ftp") || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("lacking %v, want %q", lacking, tt.why)
			}
		}
		h.assertSaved(want)
		back()
	}
	k.modules = newModules(true)
	a = mustApply(t, NewReconciler(k, nil, silent()), append(table(mh), want...))
	assertClean(t, a)
	if lacking := k.Lacking(t.Context(), want); len(lacking) != 0 {
		t.Errorf("lacking %v", lacking)
	}
}
