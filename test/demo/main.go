// Command demo shows baton's main job to a newcomer: it builds the picture of
// the README out of network namespaces, plays what happens to such a pair in
// production, and judges what a client sees. It ends with one table and a status
// other than 0 if anything was not as it should be.
//
// It needs root and a kernel with IPVS; "make demo" sees to both.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"baton/test/lab"
	"baton/test/scene"
)

func main() {
	baton := flag.String("baton", "bin/baton", "the program to show")
	only := flag.String("forward", "nat,dr", "forwarding methods to show, with commas between")
	flag.Parse()
	if err := show(*baton, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func show(baton string, forwards []string) error {
	path, err := filepath.Abs(baton)
	if err != nil {
		return err
	}
	var all results
	for _, f := range forwards {
		r, err := play(path, scene.Forward(f))
		all = append(all, r...)
		if err != nil {
			all.print()
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	all.print()
	if bad := all.bad(); bad > 0 {
		return fmt.Errorf("%d of %d steps were not as expected", bad, len(all))
	}
	fmt.Printf("\nAll %d steps were as expected.\n", len(all))
	return nil
}

// play builds the scene for one forwarding method and acts on it.
func play(baton string, f scene.Forward) (results, error) {
	l, err := lab.Open(nil)
	if err != nil {
		return nil, err
	}
	defer l.Close() //nolint:errcheck // at the end of the demo
	s, err := scene.New(l, scene.Options{Forward: f, Baton: baton, Advert: time.Second})
	if err != nil {
		return nil, err
	}
	fmt.Print(picture(f))
	p := &player{Scene: s, method: strings.ToUpper(string(f))}
	for _, step := range []struct {
		title string
		act   func() error
	}{
		{"start web servers and directors", p.start},
		{"spread requests by weight", p.spread},
		{"kill a real server while requests run", p.killServer},
		{"bring it back", p.bringBack},
		{"hand over as planned while requests run", p.handOver},
		{"take part again", p.resume},
		{"kill the active director while requests run", p.crash},
	} {
		fmt.Printf("\n── %s: %s\n", p.method, step.title)
		if err := step.act(); err != nil {
			return p.results, fmt.Errorf("%s: %w", step.title, err)
		}
	}
	return p.results, nil
}

func picture(f scene.Forward) string {
	if f == scene.NAT {
		return `
NAT: replies pass the director. 10.0.1.254 moves with the VIP and is the servers' gateway.

                     client 10.0.0.9
                            │
        ──────────┬─────────┴─────────┬──────────  VIP 10.0.0.100
        lb-a 10.0.0.1   ◄─VRRP─►   lb-b 10.0.0.2
        ──────────┴─────┬───────┬─────┴──┬───────  VIP 10.0.1.254
              web1 10.0.1.11    │     web3 10.0.1.13
               (weight 3)   web2 .12  (weight 1)
                           (weight 2)
`
	}
	return `
DR: everybody on one segment; the real servers have the VIP on lo and answer by themselves.

        client 10.0.0.9   lb-a 10.0.0.1 ◄─VRRP─► lb-b 10.0.0.2
             │                 │                      │       VIP 10.0.0.100
        ─────┴────────┬────────┴────┬─────────────┬───┴────
               web1 10.0.0.11   web2 .12       web3 .13
                (weight 3)     (weight 2)     (weight 1)
`
}
