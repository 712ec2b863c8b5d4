package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Manager changes the kernel's addresses, routes, rules and virtual links. It is
// safe for concurrent use.
type Manager struct {
	log *slog.Logger
	ns  namespace

	mu      sync.Mutex
	handle  *netlink.Handle // for interfaces and addresses
	conn    *conn           // for routes and rules
	ioctl   int             // a socket for questions about interfaces
	owners  map[string]*holding
	views   map[viewKey]*view
	marking bool // the kernel keeps marks

	seenRoutes looks[kernelRoute]
	seenRules  looks[kernelRule]
	links      map[int]*virtual // by index
	parents    map[int]was      // by index

	watching  atomic.Bool
	heard     heard
	events    *events
	lists     *netlink.Handle // for Watch: a long dump must not hold up Set
	listsConn *conn
}

// holding is what one owner has in the kernel.
type holding struct {
	lease  time.Duration
	link   int             // index; 0: none
	keys   map[key]Address // as they were wanted
	routes []kernelRoute
	rules  []Rule // in the kernel's terms
}

func (h *holding) empty() bool {
	return h.link == 0 && len(h.keys)+len(h.routes)+len(h.rules) == 0
}

// key is an address as the kernel identifies it.
type key struct {
	index  int // of the interface
	prefix netip.Prefix
}

// Open connects to the kernel, in the network namespace of the calling thread.
// Changing anything needs CAP_NET_ADMIN.
func Open(log *slog.Logger) (*Manager, error) {
	nl.EnableErrorMessageReporting = true // the kernel's own words, where it has some
	m := &Manager{
		log: log, ioctl: -1, owners: map[string]*holding{}, views: map[viewKey]*view{}, marking: KeepsMarks(),
		links: map[int]*virtual{}, parents: map[int]was{},
	}
	var err error
	if m.ns, err = thisNamespace(); err == nil {
		m.handle, err = openHandle()
	}
	if err == nil {
		m.lists, err = openHandle()
	}
	if err == nil {
		m.conn, err = openConn()
	}
	if err == nil {
		m.listsConn, err = openConn()
	}
	if err == nil {
		m.events, err = openEvents()
	}
	if err == nil {
		m.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		err = os.NewSyscallError("socket", err)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("open the netlink sockets: %w%s", err, remedy(err))
	}
	return m, nil
}

// KeepsMarks reports whether the kernel is 5.18 or newer, and so keeps the mark of
// an address. Distributions have given it to older ones; that shows when the first
// one is read back.
func KeepsMarks() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || (major == 5 && minor >= 18))
}

func openHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	// A dump during a change would otherwise be incomplete, with an error.
	h = h.RetryInterrupted().DisableVFInfoCollection()
	// Strict checking makes the kernel obey the interface given with a dump of
	// addresses (since 4.20); without it every dump is of all interfaces.
	return h, errors.Join(h.SetStrictCheck(true), h.SetSocketTimeout(socketTimeout))
}

// Close closes the connection to the kernel. What was set stays. A Watch must
// have ended before.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range []*netlink.Handle{m.handle, m.lists} {
		if h != nil {
			_ = h.Close()
		}
	}
	m.conn.close()
	m.listsConn.close()
	if m.events != nil {
		_ = m.events.file.Close()
	}
	m.ns.close()
	if m.ioctl >= 0 {
		_ = unix.Close(m.ioctl)
		m.ioctl = -1
	}
}
