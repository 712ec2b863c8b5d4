package main

import (
	"bufio"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baton/internal/config"
)

func TestCountTable(t *testing.T) {
	const text = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000064:2710 rr  
  -> 0A4D0001:0050      Masq    1      0          0         
  -> 0A420002:0050      Masq    1      0          0         
TCP  0A000064:2711 rr  
`
	got, err := countTable(bufio.NewReader(strings.NewReader(text)))
	if want := (counted{services: 2, servers: 2, moved: 1}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// Changes are counted, in batches too; answers, reads and other families are not.
func TestChangesIn(t *testing.T) {
	const family = 33
	message := func(typ, flags uint16, command byte, more int) []byte {
		b := make([]byte, 20+more)
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
		binary.NativeEndian.PutUint16(b[4:], typ)
		binary.NativeEndian.PutUint16(b[6:], flags)
		b[16] = command
		return b
	}
	var batch []byte
	for _, m := range [][]byte{
		message(family, 1, 1, 24), message(family, 5, 5, 48), message(family, 1, 6, 0), // changes
		message(family, 0x301, 8, 0), message(family, 2, 1, 48), message(16, 1, 3, 0), message(2, 0, 0, 16),
	} {
		batch = append(batch, m...)
	}
	if n := changesIn(batch, family); n != 3 {
		t.Errorf("%d changes, want 3", n)
	}
	if n := changesIn(batch[:50], family); n != 1 {
		t.Errorf("%d changes in a packet that was cut short, want 1", n)
	}
}

// The table, and what baton makes of its file for the table, are the same.
func TestFarm(t *testing.T) {
	f := farm{services: 3, heavy: true, moved: true, interval: checkInterval}
	path := filepath.Join(t.TempDir(), "baton.yaml")
	if err := os.WriteFile(path, []byte(f.batonFile(t.TempDir())), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := f.table()
	for i, s := range cfg.Balancer.Services {
		if s.Keys[0] != want[i].Key || len(s.Servers) != len(want[i].Servers) {
			t.Fatalf("service %d: %+v, want %+v", i, s, want[i])
		}
		for _, server := range s.Servers {
			if r := server.At(s.Keys[0]); want.Find(s.Keys[0]) == nil || !slices.Contains(want[i].Servers, r) {
				t.Errorf("service %d: %+v is not in %+v", i, r, want[i].Servers)
			}
		}
	}
	if lines := strings.Count(f.rules(), "\n"); lines != 33 {
		t.Errorf("%d rules", lines)
	}
}
