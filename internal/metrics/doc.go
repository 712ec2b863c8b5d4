// Package metrics shows the daemon to Prometheus.
//
// Samples are made at the time of a scrape from the same snapshots that the API
// shows, so that nothing has to be kept in step. The one thing that is counted
// here is how long checks took.
package metrics
