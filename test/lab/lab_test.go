package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const beVictim = "BATON_LAB_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(beVictim) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// pair makes two hosts on one bridge, a with 10.0.0.1 and b with 10.0.0.2.
func pair(t *testing.T) (l *Lab, a, b *Host) {
	t.Helper()
	l = New(t)
	lan := l.Bridge("lan")
	a, b = l.Host("a"), l.Host("b")
	a.Connect(lan, "eth0", "10.0.0.1/24", "fd00::1/64")
	b.Connect(lan, "eth0", "10.0.0.2/24", "fd00::2/64")
	return l, a, b
}

// ping sends one echo request and waits for the answer.
func ping(h *Host, to string) error {
	wait := max(1, int(Patience(time.Second).Seconds()))
	_, err := h.Run(context.Background(), "ping", "-n", "-c", "1", "-W", strconv.Itoa(wait), to)
	return err
}

// silent asserts that nothing comes back.
func silent(t *testing.T, h *Host, to string) {
	t.Helper()
	if _, err := h.Run(t.Context(), "ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", to); err == nil {
		t.Errorf("%s still reaches %s", h, to)
	}
}

func TestHostsReachEachOther(t *testing.T) {
	_, a, b := pair(t)
	for _, address := range []string{"10.0.0.2", "fd00::2"} {
		if err := ping(a, address); err != nil {
			t.Error(err)
		}
	}
	if !b.Has("10.0.0.2") || !b.Has("fd00::2") || b.Has("10.0.0.1") {
		got, err := b.Addresses("eth0")
		t.Errorf("b has %v (%v)", got, err)
	}
	name, err := a.Run(t.Context(), "hostname")
	if err != nil || strings.TrimSpace(name) != "a" {
		t.Errorf("hostname says %q, %v", name, err)
	}
	devices, err := a.Run(t.Context(), "ls", "/sys/class/net")
	if err != nil || !slices.Equal(strings.Fields(devices), []string{"eth0", "lo"}) {
		t.Errorf("/sys of a shows %q, %v", devices, err)
	}
}

func TestRoutesThroughAHost(t *testing.T) {
	l := New(t)
	left, right := l.Bridge("left"), l.Bridge("right")
	a, router, b := l.Host("a"), l.Host("router"), l.Host("b")
	a.Connect(left, "eth0", "10.0.1.1/24")
	b.Connect(right, "eth0", "10.0.2.1/24")
	router.Connect(left, "eth0", "10.0.1.254/24")
	router.Connect(right, "eth1", "10.0.2.254/24")
	router.Sysctl("net.ipv4.ip_forward", "1")
	a.Route("default", "10.0.1.254")
	b.Route("10.0.1.0/24", "10.0.2.254")
	if err := ping(a, "10.0.2.1"); err != nil {
		t.Error(err)
	}
}

func TestCableDownAndCut(t *testing.T) {
	_, a, b := pair(t)
	cable := b.Link("eth0")
	carrier := func(want string) func() error {
		return func() error {
			state, err := b.Run(t.Context(), "cat", "/sys/class/net/eth0/carrier")
			if err == nil && strings.TrimSpace(state) != want {
				err = fmt.Errorf("carrier is %s", state)
			}
			return err
		}
	}
	cable.Down()
	Eventually(t, time.Second, carrier("0"))
	silent(t, a, "10.0.0.2")
	cable.Up()
	if err := ping(a, "10.0.0.2"); err != nil {
		t.Error("after Up:", err)
	}
	cable.Cut()
	silent(t, a, "10.0.0.2")
	if err := carrier("1")(); err != nil {
		t.Error("after Cut:", err)
	}
	cable.Mend()
	if err := ping(a, "10.0.0.2"); err != nil {
		t.Error("after Mend:", err)
	}
}

func TestPartition(t *testing.T) {
	l, a, b := pair(t)
	c := l.Host("c")
	c.Connect(l.Bridge("lan"), "eth0", "10.0.0.3/24", "fd00::3/64")

	l.Partition([]*Host{a}, []*Host{b})
	silent(t, a, "10.0.0.2")
	silent(t, b, "fd00::1")
	for _, err := range []error{ping(a, "10.0.0.3"), ping(b, "10.0.0.3"), ping(c, "fd00::1")} {
		if err != nil {
			t.Error(err)
		}
	}
	l.Heal()
	Eventually(t, 5*time.Second, func() error { return ping(a, "10.0.0.2") })

	// One way: the requests arrive, the answers do not.
	seen := l.Capture(b, "eth0", "arp or icmp")
	l.Block([]*Host{b}, []*Host{a})
	silent(t, a, "10.0.0.2")
	if _, err := seen.Await(time.Second, func(p Packet) bool { return !p.Outgoing }); err != nil {
		t.Error(err)
	}
	l.Heal()
}

func TestLoss(t *testing.T) {
	_, a, b := pair(t)
	const sent = 200 // as many fit into a socket's buffer
	received := func() int {
		t.Helper()
		conn, err := b.ListenPacket("udp", "10.0.0.2:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		from, err := a.Dial(t.Context(), "udp", "10.0.0.2:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		buffer, count := make([]byte, 16), 0
		for range sent {
			if _, err := from.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		for {
			if err := conn.SetReadDeadline(time.Now().Add(Patience(200 * time.Millisecond))); err != nil {
				t.Fatal(err)
			}
			if _, _, err := conn.ReadFrom(buffer); err != nil {
				return count
			}
			count++
		}
	}
	if err := ping(a, "10.0.0.2"); err != nil { // and both know each other's hardware address
		t.Fatal(err)
	}
	if got := received(); got != sent {
		t.Errorf("without loss %d of %d packets arrived", got, sent)
	}
	b.Link("eth0").Loss(50)
	// 100 ± 7 is one standard deviation.
	if got := received(); got < 50 || got > 150 {
		t.Errorf("with half of them lost %d of %d packets arrived", got, sent)
	}
	b.Link("eth0").Loss(100)
	if got := received(); got != 0 {
		t.Errorf("with all of them lost %d packets arrived", got)
	}
	b.Link("eth0").Loss(0)
	if got := received(); got != sent {
		t.Errorf("after the loss %d of %d packets arrived", got, sent)
	}
}

func TestCapture(t *testing.T) {
	l, a, b := pair(t)
	seen := l.Capture(b, "eth0", "udp dst port 9000")
	began := time.Now()
	// Somebody must listen, or b refuses and the refusal fails a later write.
	listener, err := b.ListenPacket("udp", "10.0.0.2:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := a.Dial(t.Context(), "udp", "10.0.0.2:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 {
		if _, err := fmt.Fprintf(conn, "payload %d", i); err != nil {
			t.Fatal(err)
		}
	}
	packet, err := seen.Await(2*time.Second, func(p Packet) bool { return strings.HasSuffix(string(p.Data), "payload 2") })
	if err != nil {
		t.Fatal(err)
	}
	if packet.Outgoing || packet.Time.Before(began) || packet.Time.After(time.Now()) {
		t.Errorf("packet is outgoing=%v at %v, between %v and now", packet.Outgoing, packet.Time, began)
	}
	if err := seen.Stop(); err != nil {
		t.Error(err)
	}
	var streamed int
	for range seen.C(t.Context()) {
		streamed++
	}
	if streamed != len(seen.Packets()) || streamed < 3 {
		t.Errorf("%d packets through the channel, %d in all", streamed, len(seen.Packets()))
	}
	file := filepath.Join(t.TempDir(), "seen.pcap")
	if err := seen.WritePcap(file); err != nil {
		t.Fatal(err)
	}
	text, err := b.Run(t.Context(), "tcpdump", "-n", "-r", file)
	if err != nil || !strings.Contains(text, "10.0.0.2.9000: UDP, length 9") {
		t.Errorf("tcpdump reads %q, %v", text, err)
	}
}

// The bridge sees what two hosts send to each other, each packet once.
func TestCaptureBridge(t *testing.T) {
	l, a, b := pair(t)
	seen := l.CaptureBridge(l.Bridge("lan"), "icmp")
	if err := ping(a, "10.0.0.2"); err != nil {
		t.Fatal(err)
	}
	if err := seen.Stop(); err != nil {
		t.Fatal(err)
	}
	var senders []string
	for _, p := range seen.Packets() {
		senders = append(senders, net.HardwareAddr(p.Data[6:12]).String())
	}
	want := []string{a.Link("eth0").MAC().String(), b.Link("eth0").MAC().String()}
	if !slices.Equal(senders, want) {
		t.Errorf("packets of %v crossed the bridge; want a request and a reply, of %v", senders, want)
	}
}

func TestProcess(t *testing.T) {
	_, a, _ := pair(t)
	exited := make(chan error, 1)
	p := a.Start(Proc{
		Args:   []string{"sh", "-c", `echo "hello $WHO"; trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done`},
		Env:    []string{"WHO=lab"},
		OnExit: func(_ *Process, err error) { exited <- err },
	})
	if err := p.AwaitOutput(2*time.Second, "hello lab"); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitOutput(10*time.Millisecond, "never"); err == nil {
		t.Error("found output that was not written")
	}
	if err := p.Stop(2 * time.Second); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("ended with %v", err)
	}
	if err := <-exited; !errors.As(err, &exit) {
		t.Errorf("OnExit got %v", err)
	}
	if !strings.Contains(p.Output(), "bye") || p.Running() {
		t.Errorf("running %v, output %q", p.Running(), p.Output())
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v", err)
	}
	out, err := a.Run(t.Context(), "sh", "-c", "echo why >&2; exit 4")
	if !errors.As(err, &exit) || exit.ExitCode() != 4 || out != "why\n" || !strings.Contains(err.Error(), "why") {
		t.Errorf("Run gave %q, %v", out, err)
	}
}

// alive tells whether a process exists and is more than a zombie.
func alive(pid int) bool {
	_, found := processes()[pid]
	return found
}

// A tree with a child, a grandchild and one that detached itself and lost its parent; the child
// would tell of the death of another.
const tree = `
	setsid sh -c 'echo detached $$; exec sleep 1000' &
	sh -c 'sh -c "echo grandchild \$\$; exec sleep 1000" & echo child $$; while kill -0 '$$' 2>/dev/null; do sleep 0.01; done; echo orphaned' &
	echo parent $$
	wait`

func startTree(t *testing.T, h *Host) (*Process, []int) {
	t.Helper()
	p := h.Start(Proc{Args: []string{"sh", "-c", tree}})
	var pids []int
	for _, name := range []string{"parent ", "child ", "grandchild ", "detached "} {
		if err := p.AwaitOutput(2*time.Second, name); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, time.Second, func() error {
		pids = nil
		for _, line := range strings.Split(strings.TrimSpace(p.Output()), "\n") {
			fields := strings.Fields(line)
			if len(fields) != 2 {
				return fmt.Errorf("line %q", line)
			}
			pid, err := strconv.Atoi(fields[1])
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return nil
	})
	return p, pids
}

func TestKillTree(t *testing.T) {
	_, a, _ := pair(t)
	p, pids := startTree(t, a)
	found := p.Tree()
	for _, pid := range pids {
		if !slices.Contains(found, pid) {
			t.Errorf("the tree %v lacks %d\n%s", found, pid, p.Output())
		}
	}
	p.Freeze()
	for _, pid := range pids {
		Eventually(t, time.Second, func() error {
			fields, err := statFields(pid)
			if err == nil && fields[0] != "T" {
				err = fmt.Errorf("%d is in state %s", pid, fields[0])
			}
			return err
		})
	}
	p.Thaw()
	p.Kill()
	for _, pid := range pids {
		Eventually(t, time.Second, func() error {
			if alive(pid) {
				return fmt.Errorf("%d lives\n%s", pid, p.Output())
			}
			return nil
		})
	}
	if strings.Contains(p.Output(), "orphaned") {
		t.Error("a child saw the death of its parent")
	}
}

func TestSocketsOnAHost(t *testing.T) {
	_, a, b := pair(t)
	listener, err := b.Listen("tcp", "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	response, err := a.Client(Patience(2 * time.Second)).Get("http://10.0.0.2/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasPrefix(string(body), "10.0.0.1:") {
		t.Errorf("the server saw %q, %v", body, err)
	}
	err = a.Do(func() error {
		_, err := net.InterfaceByName("eth0")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := net.InterfaceByName("p1"); err == nil {
		t.Error("the machine's own network has an interface of the lab")
	}
}

func TestPrivateFolders(t *testing.T) {
	_, a, b := pair(t)
	a.Private("/mnt")
	b.Private("/mnt")
	if _, err := a.Run(t.Context(), "touch", "/mnt/of-a"); err != nil {
		t.Fatal(err)
	}
	if out, err := b.Run(t.Context(), "ls", "/mnt"); err != nil || out != "" {
		t.Errorf("b sees %q, %v", out, err)
	}
	if _, err := os.Stat("/mnt/of-a"); err == nil {
		t.Error("the machine sees the file too")
	}
}

func TestErrorsStickWithoutATest(t *testing.T) {
	l, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := l.Host("a")
	a.Connect(l.Bridge("lan"), "eth0", "10.0.0.300/24")
	if l.Err() == nil || !strings.Contains(l.Err().Error(), "10.0.0.300") {
		t.Errorf("the error is %v", l.Err())
	}
	first := l.Err()
	late := l.Host("late")
	late.Connect(l.Bridge("other"), "eth0", "10.0.0.1/24")
	if p := late.Start(Proc{Args: []string{"true"}}); p.Wait() == nil || p.Pid() != 0 {
		t.Error("a process started in a lab that has failed")
	}
	if !errors.Is(l.Err(), first) {
		t.Errorf("the error became %v", l.Err())
	}
	namespace := a.Namespace()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(netnsDir, namespace)); err == nil {
		t.Errorf("%s is still there", namespace)
	}
	if _, err := os.Stat(l.Dir()); err == nil {
		t.Errorf("%s is still there", l.Dir())
	}
	if _, err := a.Run(t.Context(), "true"); err == nil {
		t.Error("ran a command after the end")
	}
}

// victim is the program that TestSweep kills: it has a lab with an ordinary process and one that
// has detached itself.
func victim() {
	l, err := Open(nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	h := l.Host("h")
	h.Connect(l.Bridge("lan"), "eth0", "10.0.0.1/24")
	p := h.Start(Proc{Args: []string{"sh", "-c", "setsid sleep 1000 & echo $!; wait"}})
	if err := p.AwaitOutput(2*time.Second, "\n"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(h.Namespace(), l.Dir(), p.Pid(), strings.TrimSpace(p.Output()))
	select {}
}

func TestSweep(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), beVictim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 4 {
		t.Fatalf("the victim says %q, %v", line, err)
	}
	namespace, dir := filepath.Join(netnsDir, fields[0]), fields[1]
	child, _ := strconv.Atoi(fields[2])
	detached, _ := strconv.Atoi(fields[3])

	New(t) // must leave the living alone
	for _, path := range []string{namespace, dir} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the lab of a living program was swept: %v", err)
		}
	}
	if !alive(child) || !alive(detached) {
		t.Error("processes of a living program were killed")
	}

	if err := unix.Kill(cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	Eventually(t, time.Second, func() error {
		if alive(child) {
			return errors.New("the child outlives its lab")
		}
		return nil
	})
	New(t)
	for _, path := range []string{namespace, dir} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was not swept: %v", path, err)
		}
	}
	if alive(detached) {
		t.Error("the detached process was not killed")
	}
}

func TestOrphaned(t *testing.T) {
	own, err := ownPrefix()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		own + "1-host": false,
		fmt.Sprintf("baton-%d-1-1-host", os.Getpid()): true, // the number was used again
		"baton-4194305-1-1-host":                      true, // beyond the highest number
		"baton-":                                      false,
		"baton-x-y-z":                                 false,
		"other-1-1-1-host":                            false,
	} {
		if orphaned(name) != want {
			t.Errorf("orphaned(%q) is %v", name, !want)
		}
	}
}
