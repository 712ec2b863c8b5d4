package director

import (
	"fmt"
	"strconv"
	"time"

	"baton/internal/config"
	"baton/internal/network"
)

const (
	syncThresholdKey = "net.ipv4.vs.sync_threshold"
	syncRefreshKey   = "net.ipv4.vs.sync_refresh_period"
	syncRetriesKey   = "net.ipv4.vs.sync_retries"
)

// writtenSyncSysctls are the settings that the file asks for.
func writtenSyncSysctls(t config.SyncTiming) []network.Sysctl {
	const why = "connection_sync says so"
	return []network.Sysctl{
		{Key: syncRefreshKey, Value: strconv.FormatInt(int64(t.Refresh/time.Second), 10), Why: why},
		{Key: syncThresholdKey, Value: fmt.Sprintf("%d %d", t.Threshold, t.Period), Why: why},
		{Key: syncRetriesKey, Value: strconv.Itoa(int(t.Retries)), Why: why},
	}
}

// neededSyncSysctls are the settings that the connection sync needs beside those
// that the kernel begins with, where the file says nothing. Whoever has changed one of them knows why, and
// both are left as they are then.
//
// By default the kernel tells of a connection at its third packet from the client
// and then at every fiftieth. So a director that comes back hears of a quiet
// connection (a shell, a web socket, a database) after minutes or not before its
// own entry, of which the backup sees no packets, has expired; one that was lost
// on the wire stays unknown for as long; and a busy one is told hundreds of times
// a second. With a refresh period a connection is told again when that time has
// passed, at the next packet that the threshold lets through, and not before. The
// threshold of every third, beginning with the second, is the acknowledgement
// that establishes a TCP connection: from then on it is worth something. It still
// keeps single datagrams out, such as queries to a name server.
//
// Not needed: sync_retries (the next period repeats what was lost), sloppy_tcp
// (it would take packets of unknown connections to some server, most of them to
// the wrong one), conntrack and expire_nodest_conn (they concern other things).
func neededSyncSysctls() []network.Sysctl {
	threshold, err := network.ReadSysctl(syncThresholdKey)
	refresh, err2 := network.ReadSysctl(syncRefreshKey)
	if err == nil && err2 == nil && (threshold != "3 50" || refresh != "0") {
		return nil
	}
	return []network.Sysctl{
		{Key: syncRefreshKey, Value: "10", Why: "a director that comes back hears of every connection in use within this time"},
		{Key: syncThresholdKey, Value: "2 3", Why: "connections are synchronised as soon as they are established, and quiet ones again in time"},
	}
}

// syncRefresh is the refresh period in force; 0: there is none, or it is not
// known.
func syncRefresh() time.Duration {
	v, err := network.ReadSysctl(syncRefreshKey)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
