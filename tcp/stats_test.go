package tcp

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// valuesOf returns each value by its name, with its label.
func valuesOf(t *testing.T, all []paxos.Metric) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, m := range all {
		assert.Regexp(t, `^[a-z_]+$`, m.Name)
		assert.Regexp(t, `^[A-Z0-9].*\.$`, m.Help)
		for _, v := range m.Values {
			name := m.Name
			if m.Label != "" {
				name += " " + m.Label + " " + v.Label
			}
			require.NotContains(t, values, name)
			values[name] = v.Value
		}
	}
	return values
}

// Each number of Stats is a metric, each under a name of its own.
func TestMetrics(t *testing.T) {
	soon, late := time.Unix(2000000000, 5), time.Unix(2100000000, 0)
	s := Stats{Sent: 101, SentBytes: 102, Writes: 103, Received: 104, DroppedOldest: 105, DroppedTooLarge: 106, DroppedUnknown: 107,
		DroppedUnreachable: 108, Lost: 109, Dials: 110, DialsFailed: 111, Connected: 112, RefusedBy: 113, Accepted: 114, Welcomed: 115,
		Refused: map[Reason]uint64{ReasonTLS: 116, ReasonStranger: 117}, AcceptErrors: 118, BadFrames: 119, UnknownKinds: 120, Pending: 121,
		Expires: soon, Peers: []Peer{{ID: 2, Out: true, Queued: 122, Expires: late}, {ID: 3, In: true}}}
	assert.Equal(t, map[string]float64{
		"network_packets_sent": 101, "network_sent": 102, "network_writes": 103, "network_packets_received": 104,
		"network_packets_dropped reason oldest": 105, "network_packets_dropped reason too_large": 106,
		"network_packets_dropped reason unknown": 107, "network_packets_dropped reason unreachable": 108,
		"network_packets_dropped reason lost": 109, "network_dials": 110, "network_dials_failed": 111, "network_dials_welcomed": 112,
		"network_dials_refused": 113, "network_connections_accepted": 114, "network_connections_welcomed": 115,
		"network_connections_refused reason version": 0, "network_connections_refused reason cluster": 0,
		"network_connections_refused reason to": 0, "network_connections_refused reason stranger": 117,
		"network_connections_refused reason identity": 0, "network_connections_refused reason duplicate": 0,
		"network_connections_refused reason busy": 0, "network_connections_refused reason spoofed": 0,
		"network_connections_refused reason malformed": 0, "network_connections_refused reason tls": 116,
		"network_connections_refused reason slow": 0, "network_accept_errors": 118, "network_frames_bad": 119,
		"network_frames_skipped": 120, "network_connections_pending": 121,
		"network_peer_connected_out peer 2": 1, "network_peer_connected_out peer 3": 0,
		"network_peer_connected_in peer 2": 0, "network_peer_connected_in peer 3": 1,
		"network_peer_packets_queued peer 2": 122, "network_peer_packets_queued peer 3": 0,
		"certificate_expiry_timestamp": 2000000000, "peer_certificate_expiry_timestamp peer 2": 2100000000,
	}, valuesOf(t, s.Metrics()))
}

// A number that only grows is a counter. Sizes and times have a unit.
func TestKindsOfMetrics(t *testing.T) {
	now := []string{"network_connections_pending", "network_peer_connected_out", "network_peer_connected_in", "network_peer_packets_queued",
		"certificate_expiry_timestamp", "peer_certificate_expiry_timestamp"}
	units := map[string]string{"network_sent": "By", "certificate_expiry_timestamp": "s", "peer_certificate_expiry_timestamp": "s"}
	for _, m := range (Stats{}).Metrics() {
		assert.Equal(t, !slices.Contains(now, m.Name), m.Counter, m.Name)
		assert.Equal(t, units[m.Name], m.Unit, m.Name)
	}
}

// The metrics are the same ones before anything has happened, so that they can be registered then.
func TestMetricsAreAlwaysTheSame(t *testing.T) {
	full := Stats{Refused: map[Reason]uint64{ReasonSlow: 1}, Expires: time.Unix(1, 0), Peers: []Peer{{ID: 2, Expires: time.Unix(1, 0)}}}.Metrics()
	empty := Stats{}.Metrics()
	require.Len(t, empty, len(full))
	for i := range full {
		full[i].Values, empty[i].Values = nil, nil
		assert.Equal(t, full[i], empty[i])
	}
	for _, m := range (Stats{}).Metrics() {
		if m.Name == "certificate_expiry_timestamp" {
			assert.Empty(t, m.Values, "without TLS there is no end")
		}
	}
}

// Each counter has a field of Stats.
func TestCountersAreStats(t *testing.T) {
	none := map[paxos.ServerID]*peer{}
	var tr Transport
	tr.peers.Store(&none)
	c, d := &tr.counters, &tr.counters.drops
	for i, n := range []*atomic.Uint64{&c.sent, &c.sentBytes, &c.writes, &c.received, &d.oldest, &d.tooLarge, &d.unknown, &d.unreachable, &d.lost, &c.dials,
		&c.dialsFailed, &c.connected, &c.refusedBy, &c.accepted, &c.welcomed, &c.acceptErrors, &c.badFrames, &c.unknownKinds} {
		n.Store(uint64(i + 1))
	}
	c.refuse(ReasonSlow)
	assert.Equal(t, Stats{Sent: 1, SentBytes: 2, Writes: 3, Received: 4, DroppedOldest: 5, DroppedTooLarge: 6, DroppedUnknown: 7, DroppedUnreachable: 8,
		Lost: 9, Dials: 10, DialsFailed: 11, Connected: 12, RefusedBy: 13, Accepted: 14, Welcomed: 15, AcceptErrors: 16, BadFrames: 17, UnknownKinds: 18,
		Refused: map[Reason]uint64{ReasonSlow: 1}}, tr.Stats())
}
