package metrics

import "github.com/prometheus/client_golang/prometheus"

// family is what all samples of one name share.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("baton_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("baton_"+name, help, labels, nil), prometheus.CounterValue}
}

// The families. Names and labels are a contract with dashboards and alerts: they
// are added to, never changed.
var (
	routerState = gauge("router_state",
		"State of a virtual router: 0 init, 1 backup, 2 master, 3 fault.", "router")
	routerPriority = gauge("router_priority",
		"Priority that a virtual router takes part with now.", "router")
	routerAddressesHeld = gauge("router_addresses_held",
		"Whether the addresses of a virtual router are on this director.", "router")
	routerResigned = gauge("router_resigned",
		"Whether a virtual router stands back after a failover by hand.", "router")
	routerTransitions = counter("router_transitions_total",
		"Changes of state of a virtual router, by the state entered.", "router", "to")
	routerAdvertAge = gauge("router_last_advert_age_seconds",
		"Time since the last advert of another router; absent if none was heard.", "router")
	advertsSent = counter("adverts_sent_total",
		"VRRP adverts sent.", "router")
	advertsReceived = counter("adverts_received_total",
		"VRRP adverts received and believed.", "router")
	advertsRejected = counter("adverts_rejected_total",
		"VRRP packets received and not believed, by reason.", "router", "reason")
	advertLateness = prometheus.NewDesc("baton_advert_lateness_seconds",
		"How late our own timer was when an advert was due.", []string{"router"}, nil)
	announcements = counter("announcements_total",
		"Gratuitous ARP and unsolicited neighbour advertisements sent.", "router")
	rivalMasters = counter("rival_masters_total",
		"Adverts of another master received while this router was master.", "router")
	addressConflicts = counter("address_conflicts_total",
		"Announcements of an address of this router by somebody else while it was master (RFC 5227).", "router")
	clockSkew = gauge("router_peer_clock_skew_seconds",
		"By how much a peer's clock is ahead of ours; absent without an HMAC.", "router")
	trackUp = gauge("track_up",
		"Whether an object that a router tracks is up.", "router", "track")
	trackWeight = gauge("track_weight",
		"What an object that a router tracks adds to its priority.", "router", "track")

	syncRole = gauge("connection_sync_role",
		"What the kernel's connection sync daemon is for a virtual router: 0 off, 1 master, 2 backup, 3 both.", "router")

	serviceUp = gauge("service_up",
		"Whether a service has its quorum.", "service")
	serviceProgrammed = gauge("service_programmed",
		"Whether a service is to be in the kernel's table here; 0: standby.", "service")
	serviceQuorumWeight = gauge("service_quorum_weight",
		"Sum of the weights of the live servers of a service.", "service")
	serviceQuorumMin = gauge("service_quorum_min",
		"Weight that a service needs to be up.", "service")
	serviceFallbackActive = gauge("service_fallback_active",
		"Whether the fallback server of a service serves.", "service")
	servicePanic = gauge("service_panic",
		"Whether so few servers of a service are up that no check takes one out any more.", "service")
	serviceBackupsActive = gauge("service_backups_active",
		"Whether the backups of a service serve.", "service")
	serverUp = gauge("server_up",
		"Whether a real server is up.", "service", "server")
	serverWeight = gauge("server_weight",
		"Weight of a real server in the kernel's table, in the units of the configuration; 0 when it is not in it.", "service", "server")
	serverMaintenance = gauge("server_maintenance",
		"Whether an operator or a file in maintenance_dir has a real server drain or be disabled.", "service", "server")
	checks = counter("checks_total",
		"Results of checks, by kind and code.", "kind", "code")

	ipvsConnections = gauge("ipvs_connections",
		"Connections to a real server in the kernel's table, by state: active or inactive.", "service", "server", "state")
	ipvsConnectionsTotal = counter("ipvs_connections_total",
		"Connections that the kernel scheduled to a real server.", "service", "server", "direction")
	ipvsPackets = counter("ipvs_packets_total",
		"Packets to (in) and from (out) a real server; out is seen with forward nat only.", "service", "server", "direction")
	ipvsBytes = counter("ipvs_bytes_total",
		"Bytes to (in) and from (out) a real server; out is seen with forward nat only.", "service", "server", "direction")
	ipvsDrift = counter("ipvs_drift_total",
		"Changes by others to the kernel's table that were found and repaired.")
	ipvsWrites = counter("ipvs_writes_total",
		"Successful changes to the kernel's table, by operation.", "op")
	ipvsForeign = gauge("ipvs_foreign_services",
		"Services in the kernel's table that the configuration does not name.")

	discoveryServers = gauge("discovery_servers",
		"Servers of a service that are in force from a source.", "service", "source")
	discoveryHeld = gauge("discovery_held_servers",
		"Servers in force that their source does not name any more, because it lost too many at once.", "service", "source")
	discoveryUp = gauge("discovery_up",
		"Whether the last attempt to ask a source of servers succeeded.", "service", "source")
	discoveryLastSuccess = gauge("discovery_last_success_timestamp_seconds",
		"When a source of servers last answered; absent: never.", "service", "source")
	discoveryFailures = counter("discovery_failures_total",
		"Failed attempts to ask a source of servers.", "service", "source")

	sourceNATRepairs = counter("source_nat_repairs_total",
		"Changes by others to the nftables table for source_nat that were found and repaired.")

	problems = gauge("problems",
		"Problems with carrying out what is wanted, by where: router, service, source, ipvs or source_nat.", "where")

	configHash = gauge("config_hash",
		"The configuration in force; always 1.", "hash")
	configLastReloadOK = gauge("config_last_reload_successful",
		"Whether the last attempt to load a configuration succeeded.")
	configLastReloadTime = gauge("config_last_reload_success_timestamp_seconds",
		"When a configuration was last loaded.")
	directorRestarts = counter("director_restarts_total",
		"Restarts of the director process after an unexpected end.")
)

// families are all that [scraper] makes, except the histogram.
var families = []family{
	routerState, routerPriority, routerAddressesHeld, routerResigned, routerTransitions, routerAdvertAge,
	advertsSent, advertsReceived, advertsRejected, announcements, rivalMasters, addressConflicts, clockSkew, trackUp, trackWeight, syncRole,
	serviceUp, serviceProgrammed, serviceQuorumWeight, serviceQuorumMin, serviceFallbackActive, servicePanic, serviceBackupsActive, serverUp, serverWeight, serverMaintenance, checks,
	ipvsConnections, ipvsConnectionsTotal, ipvsPackets, ipvsBytes, ipvsDrift, ipvsWrites, ipvsForeign, sourceNATRepairs,
	discoveryServers, discoveryHeld, discoveryUp, discoveryLastSuccess, discoveryFailures,
	problems, configHash, configLastReloadOK, configLastReloadTime, directorRestarts,
}
