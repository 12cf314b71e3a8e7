package prometheus

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ prom.Collector = (*Metrics)(nil)
	_ node.Observer  = (*Metrics)(nil)
	_ Server         = (*node.Node)(nil)
)

// A fixed server always has the same numbers.
type fixed paxos.Metrics

func (f fixed) Metrics() paxos.Metrics { return paxos.Metrics(f) }

// used returns Metrics that have one of each.
func used() *Metrics {
	m := New(7)
	m.Call(context.Background(), node.Call{Op: "propose", Outcome: node.OutcomeOK, Duration: 3 * time.Millisecond})
	m.Save(node.Save{Duration: 2 * time.Millisecond, Records: 3, Bytes: 100})
	m.RoundTrip(paxos.RoundTrip{Kind: paxos.KindPrepare, Duration: time.Millisecond})
	s := fixed{ID: 7, Boot: 2, Running: true, NoQuorum: 1500 * time.Millisecond, Peers: []paxos.PeerStatus{{ID: 8, Heard: time.Second, Taken: 3, Dropped: 4}}, Index: 5}
	s.Counters.Decided, s.Counters.Sent[paxos.KindAccept] = 9, 10
	m.Watch(s)
	return m
}

// The names are as Prometheus wants them, says its own lint.
func TestNamesAreConventional(t *testing.T) {
	problems, err := testutil.CollectAndLint(used())
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestValues(t *testing.T) {
	m := used()
	for want, name := range map[string]string{
		`paxos_no_quorum_seconds{server="7"} 1.5`:                                   "paxos_no_quorum_seconds",
		`paxos_running{server="7"} 1`:                                               "paxos_running",
		`paxos_decisions_learned_total{server="7"} 9`:                               "paxos_decisions_learned_total",
		`paxos_peer_decisions_behind{peer="8",server="7"} 2`:                        "paxos_peer_decisions_behind",
		`paxos_peer_packets_dropped_total{peer="8",server="7"} 4`:                   "paxos_peer_packets_dropped_total",
		`paxos_messages_sent_total{kind="accept",server="7"} 10`:                    "paxos_messages_sent_total",
		`paxos_save_size_bytes_sum{server="7"} 100`:                                 "paxos_save_size_bytes",
		`paxos_save_records_bucket{server="7",le="4"} 1`:                            "paxos_save_records",
		`paxos_save_duration_seconds_sum{server="7"} 0.002`:                         "paxos_save_duration_seconds",
		`paxos_round_trip_duration_seconds_sum{kind="prepare",server="7"} 0.001`:    "paxos_round_trip_duration_seconds",
		`paxos_call_duration_seconds_count{op="propose",outcome="ok",server="7"} 1`: "paxos_call_duration_seconds",
	} {
		text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, name)
		require.NoError(t, err)
		assert.Contains(t, string(text), want+"\n")
	}
}

// Two servers of one process have one registry. A server that is started anew is watched in place of the old one.
func TestRegistry(t *testing.T) {
	r := prom.NewPedanticRegistry()
	one, two := New(1), New(2)
	require.NoError(t, r.Register(one))
	require.NoError(t, r.Register(two))
	assert.Error(t, r.Register(New(1)), "it is there already")
	boots := func() string {
		families, err := r.Gather()
		require.NoError(t, err)
		var text strings.Builder
		for _, f := range families {
			if f.GetName() == "paxos_boot" {
				for _, metric := range f.GetMetric() {
					fmt.Fprint(&text, metric.GetLabel()[0].GetValue(), ":", metric.GetGauge().GetValue(), " ")
				}
			}
		}
		return text.String()
	}
	assert.Empty(t, boots())
	one.Watch(fixed{Boot: 4})
	two.Watch(fixed{Boot: 9})
	assert.Equal(t, "1:4 2:9 ", boots())
	one.Watch(fixed{Boot: 5})
	two.Watch(nil)
	assert.Equal(t, "1:5 ", boots())
}

// Further metrics go beside those of the Node, as those of a log.
func TestOf(t *testing.T) {
	log := Of(3, func() []paxos.Metric {
		return wal.Stats{Decided: 1, Undecided: 2, Segments: 3, Bytes: 4, Live: 5}.Metrics()
	})
	problems, err := testutil.CollectAndLint(log)
	require.NoError(t, err)
	assert.Empty(t, problems)
	for i, name := range []string{"paxos_log_decided", "paxos_log_undecided", "paxos_log_segments", "paxos_log_size_bytes", "paxos_log_live_bytes"} {
		text, err := testutil.CollectAndFormat(log, expfmt.TypeTextPlain, name)
		require.NoError(t, err)
		assert.Contains(t, string(text), fmt.Sprintf("%s{server=\"3\"} %d\n", name, i+1))
	}
	peers := Of(3, func() []paxos.Metric {
		return []paxos.Metric{{Name: "links", Help: "Links.", Label: "peer", Counter: true, Values: []paxos.MetricValue{{Label: "2", Value: 7}}}}
	})
	text, err := testutil.CollectAndFormat(peers, expfmt.TypeTextPlain, "paxos_links_total")
	require.NoError(t, err)
	assert.Contains(t, string(text), `paxos_links_total{peer="2",server="3"} 7`)
	r := prom.NewPedanticRegistry()
	r.MustRegister(New(3), log, peers)
	assert.Error(t, r.Register(Of(3, func() []paxos.Metric { return wal.Stats{}.Metrics() })), "it is there already")
	_, err = r.Gather()
	require.NoError(t, err)
}

// So do those of a Transport: also when its certificate expires, if it has one.
func TestOfNetwork(t *testing.T) {
	stats := tcp.Stats{Sent: 4, SentBytes: 5, Refused: map[tcp.Reason]uint64{tcp.ReasonTLS: 6}, Expires: time.Unix(2000000000, 0),
		Peers: []tcp.Peer{{ID: 2, Out: true, Expires: time.Unix(2100000000, 0)}}}
	network := Of(3, func() []paxos.Metric { return stats.Metrics() })
	problems, err := testutil.CollectAndLint(network)
	require.NoError(t, err)
	assert.Empty(t, problems)
	r := prom.NewPedanticRegistry()
	r.MustRegister(New(3), network, Of(3, func() []paxos.Metric { return wal.Stats{}.Metrics() }))
	for want, name := range map[string]string{
		`paxos_network_packets_sent_total{server="3"} 4`:                               "paxos_network_packets_sent_total",
		`paxos_network_sent_bytes_total{server="3"} 5`:                                 "paxos_network_sent_bytes_total",
		`paxos_network_connections_refused_total{reason="tls",server="3"} 6`:           "paxos_network_connections_refused_total",
		`paxos_network_peer_connected_out{peer="2",server="3"} 1`:                      "paxos_network_peer_connected_out",
		`paxos_certificate_expiry_timestamp_seconds{server="3"} 2e+09`:                 "paxos_certificate_expiry_timestamp_seconds",
		`paxos_peer_certificate_expiry_timestamp_seconds{peer="2",server="3"} 2.1e+09`: "paxos_peer_certificate_expiry_timestamp_seconds",
	} {
		text, err := testutil.CollectAndFormat(r, expfmt.TypeTextPlain, name)
		require.NoError(t, err)
		assert.Contains(t, string(text), want+"\n")
	}
	stats = tcp.Stats{}
	text, err := testutil.CollectAndFormat(r, expfmt.TypeTextPlain, "paxos_certificate_expiry_timestamp_seconds")
	require.NoError(t, err)
	assert.NotContains(t, string(text), "certificate", "an end that is not known is none in 1970")
}

// Real servers have the histograms filled, and no label is the name of an instance.
func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[paxos.ServerID]*Metrics{}
		r := prom.NewPedanticRegistry()
		nodes, stop, err := memory.Cluster(memory.Config{Node: func(c *node.Config) {
			m := New(c.ID)
			all[c.ID], c.Observer = m, m
			r.MustRegister(m)
		}})
		require.NoError(t, err)
		defer stop()
		for _, n := range nodes {
			all[n.Status().ID].Watch(n)
		}
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				_, err := nodes[i%3].Propose(t.Context(), fmt.Sprint("secret/", i), "v")
				assert.NoError(t, err)
			})
		}
		callers.Wait()
		time.Sleep(time.Second)
		families, err := r.Gather()
		require.NoError(t, err)
		counts := map[string]uint64{}
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					assert.NotContains(t, l.GetValue(), "secret")
				}
				counts[f.GetName()] += metric.GetHistogram().GetSampleCount() + uint64(metric.GetCounter().GetValue())
			}
		}
		assert.Equal(t, uint64(64), counts["paxos_call_duration_seconds"])
		assert.GreaterOrEqual(t, counts["paxos_round_trip_duration_seconds"], uint64(128))
		assert.Equal(t, uint64(3*64), counts["paxos_decisions_learned_total"])
	})
}

// Observations of many goroutines at a time are all counted, each with its duration.
func TestCallsAreConcurrent(t *testing.T) {
	const callers, each = 4, 200_000
	m, ops := New(1), [4]string{"op0", "op1", "op2", "op3"}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := range each {
				m.Call(t.Context(), node.Call{Op: ops[i/64%4], Outcome: node.OutcomeOK, Duration: time.Millisecond})
			}
		})
	}
	all.Wait()
	assert.Len(t, *m.calls.all.Load(), 4)
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "paxos_call_duration_seconds")
	require.NoError(t, err)
	total := map[string]float64{}
	for _, line := range regexp.MustCompile(`_(sum|count){.*} (\S+)\n`).FindAllStringSubmatch(string(text), -1) {
		value, err := strconv.ParseFloat(line[2], 64)
		require.NoError(t, err)
		total[line[1]] += value
	}
	assert.Equal(t, float64(callers*each), total["count"])
	assert.InDelta(t, callers*each*time.Millisecond.Seconds(), total["sum"], 1e-6)
}

// The first calls with an operation and outcome may come at the same time: they have one histogram, and all are counted.
func TestFirstCallsAreConcurrent(t *testing.T) {
	const callers = 4
	for range 3000 {
		c := newCalls(nil)
		var ready atomic.Int32
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				ready.Add(1)
				for ready.Load() < callers {
					runtime.Gosched()
				}
				c.of("propose", node.OutcomeOK).observe(time.Microsecond)
			})
		}
		all.Wait()
		require.Len(t, *c.all.Load(), 1)
		require.Equal(t, uint64(callers), c.of("propose", node.OutcomeOK).counts[0].Load())
	}
}

// The histograms of calls are those that Prometheus itself would make, on bounds and between them.
func TestCallsAreAHistogram(t *testing.T) {
	m := New(1)
	want := prom.NewHistogramVec(prom.HistogramOpts{Name: "paxos_call_duration_seconds", Help: "Duration of calls, by operation and outcome.",
		ConstLabels: prom.Labels{"server": "1"}, Buckets: prom.ExponentialBuckets(0.00025, 2, 16)}, []string{"op", "outcome"})
	durations := []time.Duration{-time.Second, 0, 1, time.Hour}
	for bound := firstBound; bound < 20*time.Second; bound *= 2 {
		durations = append(durations, bound-1, bound, bound+1, bound+bound/3)
	}
	for i, d := range durations {
		op, outcome := []string{"propose", "read"}[i%2], []node.Outcome{node.OutcomeOK, node.OutcomeTimeout, node.OutcomeBusy}[i%3]
		m.Call(t.Context(), node.Call{Op: op, Outcome: outcome, Duration: d})
		want.WithLabelValues(op, string(outcome)).Observe(d.Seconds())
	}
	wanted, err := testutil.CollectAndFormat(want, expfmt.TypeTextPlain, "paxos_call_duration_seconds")
	require.NoError(t, err)
	got, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "paxos_call_duration_seconds")
	require.NoError(t, err)
	number := regexp.MustCompile(`_sum(.*) (\S+)\n`)
	for i, sum := range number.FindAllStringSubmatch(string(wanted), -1) {
		a, err := strconv.ParseFloat(sum[2], 64)
		require.NoError(t, err)
		b, err := strconv.ParseFloat(number.FindAllStringSubmatch(string(got), -1)[i][2], 64)
		require.NoError(t, err)
		assert.InDelta(t, a, b, 1e-9)
	}
	assert.Equal(t, number.ReplaceAllString(string(wanted), ""), number.ReplaceAllString(string(got), ""))
}
