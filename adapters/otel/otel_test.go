package otel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
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
	_ node.Observer = (*Telemetry)(nil)
	_ Server        = (*node.Node)(nil)
)

// A fixed server always has the same numbers.
type fixed paxos.Metrics

func (f fixed) Metrics() paxos.Metrics { return paxos.Metrics(f) }

// A sink keeps what a Telemetry tells.
type sink struct {
	reader *sdk.ManualReader
	spans  *tracetest.SpanRecorder
}

func newSink() (*sink, Config) {
	s := &sink{sdk.NewManualReader(), tracetest.NewSpanRecorder()}
	return s, Config{Meters: sdk.NewMeterProvider(sdk.WithReader(s.reader)), Tracers: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))}
}

// read returns each value as "name{attributes}"; of a histogram, "name{attributes} count sum".
func (s *sink) read(t *testing.T) map[string]string {
	var all metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &all))
	got := map[string]string{}
	for _, scope := range all.ScopeMetrics {
		assert.Equal(t, Scope, scope.Scope.Name)
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					got[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"+m.Unit] = fmt.Sprint(p.Value)
				}
			case metricdata.Sum[float64]:
				assert.True(t, d.IsMonotonic, m.Name)
				for _, p := range d.DataPoints {
					got[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"+m.Unit] = fmt.Sprint(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					got[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"+m.Unit] = fmt.Sprint(p.Count, p.Sum)
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					got[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"+m.Unit] = fmt.Sprint(p.Count, p.Sum)
				}
			default:
				t.Fatalf("%s is a %T", m.Name, d)
			}
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	s, c := newSink()
	tel, err := New(7, c)
	require.NoError(t, err)
	tel.Call(t.Context(), node.Call{Op: "read", Outcome: node.OutcomeBusy, Duration: 4 * time.Second})
	tel.Save(node.Save{Duration: 2 * time.Second, Records: 3, Bytes: 100})
	tel.RoundTrip(paxos.RoundTrip{Kind: paxos.KindAccept, Duration: time.Second})
	got := s.read(t)
	assert.Equal(t, map[string]string{
		"paxos.call.duration{op=read,outcome=busy,server=7}s": "1 4", "paxos.save.duration{server=7}s": "1 2", "paxos.save.size{server=7}By": "1 100",
		"paxos.save.records{server=7}{record}": "1 3", "paxos.round_trip.duration{kind=accept,server=7}s": "1 1",
	}, got, "nothing is watched yet")

	numbers := fixed{NoQuorum: time.Second, Index: 5, Peers: []paxos.PeerStatus{{ID: 8, Taken: 3}}}
	numbers.Counters.Sent[paxos.KindPrepare], numbers.Counters.Decided = 9, 10
	tel.Watch(numbers)
	got = s.read(t)
	for want, value := range map[string]string{"paxos.no_quorum{server=7}s": "1", "paxos.index{server=7}": "5", "paxos.peer_decisions_behind{peer=8,server=7}": "2",
		"paxos.messages_sent{kind=prepare,server=7}": "9", "paxos.decisions_learned{server=7}": "10"} {
		assert.Equal(t, value, got[want], want)
	}
	require.NoError(t, tel.Add(func() []paxos.Metric { return wal.Stats{Decided: 1, Bytes: 4}.Metrics() }))
	got = s.read(t)
	assert.Equal(t, []string{"1", "4"}, []string{got["paxos.log_decided{server=7}"], got["paxos.log_size{server=7}By"]})
	network := tcp.Stats{Sent: 6, Expires: time.Unix(2000000000, 0), Peers: []tcp.Peer{{ID: 2, Queued: 7}}}
	require.NoError(t, tel.Add(func() []paxos.Metric { return network.Metrics() }))
	got = s.read(t)
	for want, value := range map[string]string{"paxos.network_packets_sent{server=7}": "6", "paxos.certificate_expiry_timestamp{server=7}s": "2e+09",
		"paxos.network_peer_packets_queued{peer=2,server=7}": "7", "paxos.network_packets_dropped{reason=lost,server=7}": "0"} {
		assert.Equal(t, value, got[want], want)
	}
	for name := range got {
		assert.NotContains(t, name, "peer_certificate", "server 2 has shown none")
	}
	require.NoError(t, tel.Close())
	assert.Len(t, s.read(t), 5, "after a Close")
}

// A call is a span, below that of its caller, with the times of the call.
func TestSpans(t *testing.T) {
	s, c := newSink()
	tel, err := New(7, c)
	require.NoError(t, err)
	ctx, parent := c.Tracers.Tracer("test").Start(t.Context(), "request")
	began := time.Now().Add(-time.Minute)
	tel.Call(ctx, node.Call{Op: "propose", Instance: "lunch", Outcome: node.OutcomeOK, Began: began, Duration: time.Second})
	tel.Call(ctx, node.Call{Op: "ready", Outcome: node.OutcomeFailed, Began: began, Duration: time.Second, Err: errors.New("disk")})
	parent.End()
	spans := s.spans.Ended()
	require.Len(t, spans, 3)
	assert.Equal(t, "paxos propose", spans[0].Name())
	assert.Equal(t, parent.SpanContext().SpanID(), spans[0].Parent().SpanID())
	assert.True(t, spans[0].StartTime().Equal(began))
	assert.True(t, spans[0].EndTime().Equal(began.Add(time.Second)))
	assert.Equal(t, "[{server 7} {paxos.op propose} {paxos.outcome ok} {paxos.instance lunch}]", attributes(spans[0]))
	assert.Equal(t, codes.Unset, spans[0].Status().Code)
	assert.Equal(t, "[{server 7} {paxos.op ready} {paxos.outcome failed}]", attributes(spans[1]))
	assert.Equal(t, sdktrace.Status{Code: codes.Error, Description: "failed"}, spans[1].Status())
	require.Len(t, spans[1].Events(), 1, "the error")
}

// Real servers fill all of it. No attribute of a metric is the name of an instance.
func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newSink()
		var all []*Telemetry
		nodes, stop, err := memory.Cluster(memory.Config{Node: func(cfg *node.Config) {
			tel, err := New(cfg.ID, c)
			require.NoError(t, err)
			all, cfg.Observer = append(all, tel), tel
		}})
		require.NoError(t, err)
		defer stop()
		for i, tel := range all {
			tel.Watch(nodes[i])
		}
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				_, err := nodes[0].Propose(t.Context(), fmt.Sprint("secret/", i), "v")
				assert.NoError(t, err)
			})
		}
		callers.Wait()
		time.Sleep(time.Second)
		got := s.read(t)
		for name := range got {
			assert.NotContains(t, name, "secret")
		}
		assert.Equal(t, "64", got["paxos.decisions_learned{server=3}"])
		assert.Contains(t, got["paxos.call.duration{op=propose,outcome=ok,server=1}s"], "64 ")
		assert.Contains(t, got["paxos.round_trip.duration{kind=accept,server=1}s"], "64 ")
		assert.Len(t, s.spans.Ended(), 64)
	})
}

// A meter that makes no instruments is an error of New, and not a panic later.
func TestNewFails(t *testing.T) {
	_, err := New(1, Config{Meters: refusing{}})
	require.EqualError(t, err, "paxos: otel: refused")
}

type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errors.New("refused")
}

// The zero Config has the global providers, which do nothing until a program sets them.
func TestGlobalProviders(t *testing.T) {
	tel, err := New(1, Config{})
	require.NoError(t, err)
	tel.Call(context.Background(), node.Call{Op: "read"})
	require.NoError(t, tel.Close())
}

func attributes(span sdktrace.ReadOnlySpan) string {
	var all []string
	for _, a := range span.Attributes() {
		all = append(all, fmt.Sprintf("{%s %s}", a.Key, a.Value.AsString()))
	}
	return fmt.Sprint(all)
}
