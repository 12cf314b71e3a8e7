package grpc

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// Each number of Stats is a metric, and each metric is one of package tcp: so alerts and dashboards fit both.
func TestMetrics(t *testing.T) {
	s := Stats{Sent: 101, SentBytes: 102, Received: 103, DroppedOldest: 104, DroppedTooLarge: 105, DroppedUnknown: 106, DroppedUnreachable: 107, Lost: 108,
		Dials: 109, DialsFailed: 110, Connected: 111, Welcomed: 112, Refused: 113, Broken: 114, Expires: time.Unix(2000000000, 0),
		Peers: []Peer{{ID: 2, Out: true, Queued: 115, Expires: time.Unix(2100000000, 0)}, {ID: 3, In: true}}}
	of := map[string]paxos.Metric{}
	for _, m := range (tcp.Stats{}).Metrics() {
		of[m.Name] = m
	}
	values := map[string]float64{}
	for _, m := range s.Metrics() {
		want, ok := of[m.Name]
		require.True(t, ok, m.Name)
		assert.Equal(t, []any{want.Unit, want.Counter, want.Label}, []any{m.Unit, m.Counter, m.Label}, m.Name)
		for _, v := range m.Values {
			values[m.Name+" "+v.Label] = v.Value
		}
	}
	assert.Equal(t, map[string]float64{
		"network_packets_sent ": 101, "network_sent ": 102, "network_packets_received ": 103, "network_packets_dropped oldest": 104,
		"network_packets_dropped too_large": 105, "network_packets_dropped unknown": 106, "network_packets_dropped unreachable": 107,
		"network_packets_dropped lost": 108, "network_dials ": 109, "network_dials_failed ": 110, "network_dials_welcomed ": 111,
		"network_connections_welcomed ": 112, "network_connections_refused refused": 113, "network_connections_refused broken": 114,
		"network_peer_connected_out 2": 1, "network_peer_connected_out 3": 0, "network_peer_connected_in 2": 0, "network_peer_connected_in 3": 1,
		"network_peer_packets_queued 2": 115, "network_peer_packets_queued 3": 0,
		"certificate_expiry_timestamp ": 2000000000, "peer_certificate_expiry_timestamp 2": 2100000000,
	}, values)
	assert.Len(t, Stats{}.Metrics(), len(s.Metrics()), "they are the same ones before anything has happened")
}

// Each counter has a field of Stats.
func TestCountersAreStats(t *testing.T) {
	var c counters
	d := &c.drops
	for i, n := range []*atomic.Uint64{&c.sent, &c.sentBytes, &c.received, &d.oldest, &d.tooLarge, &d.unknown, &d.unreachable, &d.lost, &c.dials,
		&c.dialsFailed, &c.connected, &c.welcomed, &c.refused, &c.broken} {
		n.Store(uint64(i + 1))
	}
	assert.Equal(t, Stats{Sent: 1, SentBytes: 2, Received: 3, DroppedOldest: 4, DroppedTooLarge: 5, DroppedUnknown: 6, DroppedUnreachable: 7, Lost: 8,
		Dials: 9, DialsFailed: 10, Connected: 11, Welcomed: 12, Refused: 13, Broken: 14}, c.stats())
}

// Traffic between two servers is counted at both of them.
func TestTrafficIsCounted(t *testing.T) {
	a, b := start(t, plain(t, 1, 2), "127.0.0.1:0"), start(t, plain(t, 2, 2), "127.0.0.1:0")
	a.net.Send(paxos.Packet{To: 2})
	a.net.Send(paxos.Packet{To: 9})
	meet(a, b)
	arrives(t, a.net, b.net, 1)
	eventually(t, "it is counted", func() bool { // a packet may arrive before its sender counts it
		from, to := a.net.Stats(), b.net.Stats()
		return !slices.Contains([]uint64{from.Sent, from.SentBytes, from.Dials, from.Connected, to.Received, to.Welcomed}, 0)
	})
	from := a.net.Stats()
	assert.Equal(t, []uint64{1, 1}, []uint64{from.DroppedUnreachable, from.DroppedUnknown})
}
