// Command bench measures baton beside keepalived, in the same topology and the
// same run. Absolute figures belong to the machine and its mood; the ratios can
// be compared.
//
//	faults   the outage that a client sees, for each fault and advert interval
//	load     the same for a lost link, with 10,000 TCP checks and busy processors;
//	         and takeovers that nothing but the load has caused
//	jitter   how evenly the adverts come, idle and under that load
//	routers  processor time, memory and time to elect, with 1, 16 and 255 routers
//	ipvs     how fast the kernel's table is filled, changed, compared and withdrawn,
//	         beside ipvsadm too; in test/vm/run's guest where this kernel has no IPVS
//	checks   what 10,000 TCP and HTTP checks cost, whether they come in time, what is
//	         shared, and how soon a dead server is out of the table; likewise
//
// Where the kernel has no IPVS, baton checks all the same and keepalived ends. There
// another process makes as many connections in its place; checks and VRRP are two
// processes in both programs. test/vm/run's guest then shows a smaller load with
// keepalived's own checks. Tables go to stdout, every single measurement to stderr.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if run := instruments[os.Args[1]]; run != nil {
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	b, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = b.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what to measure and how often.
type bench struct {
	baton string // the program
	self  string // this one, which also is its own instruments
	only  []string

	adverts        []time.Duration // of the faults
	faults         []fault
	runs, fastRuns int
	planned        time.Duration // a client's stream around a planned stop
	every          time.Duration // between two datagrams

	loadAdverts     []time.Duration
	loadRuns        int
	soak            time.Duration
	checks, burners int
	realtime        bool // keepalived also with a real-time priority

	guest                  bool   // the load also on a kernel with IPVS
	vm                     string // runs a command there
	guestAdverts           []time.Duration
	guestRuns, guestChecks int
	guestSoak              time.Duration

	jitterAdverts []time.Duration
	listen        time.Duration // to the adverts of each

	routers       []int
	routersAdvert time.Duration
	steady        time.Duration

	ipvsServices, ipvsRuns int
	ipvsLarge              []int
	ipvsWatch              time.Duration

	checksServers, checksRuns int
	checksWatch               time.Duration
	checksOnly                []string
}

// parts are what can be measured, in order.
var parts = []string{"faults", "jitter", "routers", "ipvs", "checks", "load"}

func parse(args []string) (*bench, error) {
	b := &bench{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&b.baton, "baton", "bin/baton", "the program to measure")
	only := f.String("only", "", "parts to measure, with commas between: faults, jitter, routers, ipvs, checks, load; default: all")
	adverts := f.String("adverts", "1s,100ms,10ms", "faults: advert intervals")
	names := f.String("faults", "", "faults: link, term, failover, speaker, everything; default: all")
	f.IntVar(&b.runs, "runs", 2, "faults: measurements of each with adverts of 1s and more, and of each planned one")
	f.IntVar(&b.fastRuns, "fast-runs", 3, "faults: measurements of each with shorter intervals")
	f.DurationVar(&b.planned, "planned", 7*time.Second, "faults: how long a client sends around a planned one")
	f.DurationVar(&b.every, "every", 500*time.Microsecond, "how often a client sends a datagram")
	loadAdverts := f.String("load-adverts", "100ms,10ms", "load: advert intervals")
	f.IntVar(&b.loadRuns, "load-runs", 20, "load: links cut")
	f.DurationVar(&b.soak, "soak", 30*time.Second, "load: how long to wait for takeovers without a fault")
	f.IntVar(&b.checks, "checks", 10000, "load: TCP checks of each director, every 5s")
	f.IntVar(&b.burners, "burners", 2, "load: processes that only burn processor time")
	f.BoolVar(&b.realtime, "realtime", true, "load, jitter: also keepalived with vrrp_rt_priority set")
	f.BoolVar(&b.guest, "guest", true, "load: where this kernel has no IPVS, also in a guest that has it")
	f.StringVar(&b.vm, "vm", "test/vm/run", "load: runs a command in that guest")
	guestAdverts := f.String("guest-adverts", "100ms", "load in the guest: advert intervals")
	f.IntVar(&b.guestRuns, "guest-runs", 5, "load in the guest: links cut")
	f.IntVar(&b.guestChecks, "guest-checks", 1000, "load in the guest: TCP checks of each director")
	f.DurationVar(&b.guestSoak, "guest-soak", 15*time.Second, "load in the guest: as -soak")
	jitterAdverts := f.String("jitter-adverts", "100ms,10ms", "jitter: advert intervals")
	f.DurationVar(&b.listen, "listen", 10*time.Second, "jitter: how long to listen")
	routers := f.String("routers", "1,16,255", "routers: how many on one interface")
	f.DurationVar(&b.routersAdvert, "routers-advert", time.Second, "routers: advert interval")
	f.DurationVar(&b.steady, "steady", 10*time.Second, "routers: how long to watch them do nothing special")
	f.IntVar(&b.ipvsServices, "ipvs-services", 1000, "ipvs: virtual services, with ten servers each")
	f.IntVar(&b.ipvsRuns, "ipvs-runs", 2, "ipvs: measurements of each fill, start and stop")
	large := f.String("ipvs-large", "5000", "ipvs: services of larger tables, for memory and comparison; empty: none")
	f.DurationVar(&b.ipvsWatch, "ipvs-watch", 10*time.Second, "ipvs: how long to watch a daemon do nothing special")
	f.IntVar(&b.checksServers, "checks-servers", 10000, "checks: servers, each with a check every 5s")
	f.IntVar(&b.checksRuns, "checks-runs", 1, "checks: measurements of each kind")
	f.DurationVar(&b.checksWatch, "checks-watch", time.Minute, "checks: how long to watch a program check")
	checksOnly := f.String("checks-only", strings.Join(checksParts, ","), "checks: what to measure, with commas between")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if err := numbers("routers", *routers, &b.routers); err != nil {
		return nil, err
	}
	if slices.Max(b.routers) > 255 {
		return nil, errors.New("-routers: an interface has 255 VRIDs at most")
	}
	if *large != "" {
		if err := numbers("ipvs-large", *large, &b.ipvsLarge); err != nil {
			return nil, err
		}
	}
	if n := slices.Max(append(b.ipvsLarge, b.ipvsServices)); n > 5000 || b.ipvsServices < 1 || b.ipvsRuns < 1 {
		return nil, errors.New("-ipvs-services, -ipvs-large: 1 to 5000; -ipvs-runs: at least 1")
	}
	b.checksOnly = strings.Split(*checksOnly, ",")
	for _, part := range b.checksOnly {
		if !slices.Contains(checksParts, part) {
			return nil, fmt.Errorf("-checks-only: there is no part %q", part)
		}
	}
	if n := b.checksServers; n < serversPerService || n > 50000 || b.checksRuns < 1 {
		return nil, errors.New("-checks-servers: 10 to 50000; -checks-runs: at least 1")
	}
	return b, errors.Join(b.locate(), b.choose(*only, *names),
		durations("adverts", *adverts, &b.adverts), durations("load-adverts", *loadAdverts, &b.loadAdverts),
		durations("guest-adverts", *guestAdverts, &b.guestAdverts),
		durations("jitter-adverts", *jitterAdverts, &b.jitterAdverts))
}

func (b *bench) locate() (err error) {
	if b.baton, err = filepath.Abs(b.baton); err != nil {
		return err
	}
	if _, err = os.Stat(b.baton); err != nil {
		return fmt.Errorf("the program to measure: %w; run \"make build\"", err)
	}
	b.self, err = os.Executable()
	return err
}

// choose picks parts and faults by name.
func (b *bench) choose(only, names string) error {
	b.only, b.faults = parts, faults
	if only != "" {
		b.only = strings.Split(only, ",")
	}
	for _, name := range b.only {
		if !slices.Contains(parts, name) {
			return fmt.Errorf("-only: there is no part %q", name)
		}
	}
	if names == "" {
		return nil
	}
	b.faults = nil
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("-faults: there is no fault %q", name)
		}
		b.faults = append(b.faults, faults[i])
	}
	return nil
}

// run takes the chosen parts one after the other. One that fails leaves the
// others alone.
func (b *bench) run(ctx context.Context) error {
	fmt.Println(b.machine(ctx))
	var errs []error
	for _, part := range parts {
		if !slices.Contains(b.only, part) {
			continue
		}
		began := time.Now()
		if err := b.part(ctx, part); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part, err))
		}
		fmt.Fprintf(os.Stderr, "%s took %s\n", part, time.Since(began).Round(time.Second))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

func (b *bench) part(ctx context.Context, name string) error {
	switch name {
	case "faults":
		return b.measureFaults(ctx)
	case "jitter":
		return b.measureJitter(ctx)
	case "routers":
		return b.measureRouters(ctx)
	case "ipvs":
		return b.measureIPVS(ctx)
	case "checks":
		return b.measureChecks(ctx)
	}
	return b.measureLoad(ctx)
}
