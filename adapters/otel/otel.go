// Package otel gives the numbers of a server, and a span for each call, to OpenTelemetry. It needs only the API. A [Telemetry] is a
// [node.Observer]:
//
//	t, err := otel.New(id, otel.Config{})
//	n, err := node.Start(ctx, node.Config{ID: id, Observer: t, …})
//	…
//	t.Watch(n)
//	…
//	n.Close()
//	t.Close()
//
// Each metric has the attribute "server", which is the ID of the server. No attribute of a metric is the name of an instance, and each span has
// it. Through an exporter to Prometheus, the metrics have the names that the module adapters/prometheus gives them. docs/operations.md has
// the meaning of each.
package otel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// Scope is the name of the instrumentation scope of all metrics and spans.
const Scope = "github.com/singledecree/paxos/adapters/otel"

// A Config says where metrics and spans go. The zero Config means the global providers of OpenTelemetry.
type Config struct {
	Meters  metric.MeterProvider // nil: otel.GetMeterProvider()
	Tracers trace.TracerProvider // nil: otel.GetTracerProvider()
}

// A Server has numbers. [*node.Node] is one.
type Server interface{ Metrics() paxos.Metrics }

// A Telemetry tells the numbers of one server, and observes its calls, Saves and round trips. Make it with [New]. Its methods are safe for
// concurrent use.
type Telemetry struct {
	server atomic.Pointer[Server] // nil: none is watched
	id     attribute.KeyValue
	tracer trace.Tracer
	meter  metric.Meter

	calls, trips, saves    metric.Float64Histogram
	saveBytes, saveRecords metric.Int64Histogram

	mu         sync.Mutex // guards registered, and byCall for who adds to it
	registered []metric.Registration

	// The attributes of observations, each made once.
	own    []metric.RecordOption
	byCall atomic.Pointer[map[outcome][]metric.RecordOption]
	byKind [len(paxos.Counters{}.Sent)][]metric.RecordOption
}

type outcome struct {
	op      string
	outcome node.Outcome
}

// The bounds of the histograms, as in module adapters/prometheus.
var (
	callBounds  = exponential(0.00025, 2, 16)
	tripBounds  = exponential(0.0001, 2, 17)
	saveBounds  = exponential(0.0001, 2, 16)
	byteBounds  = exponential(64, 4, 11)
	countBounds = exponential(1, 2, 13)
)

func exponential(first, factor float64, n int) (all []float64) {
	for range n {
		all = append(all, first)
		first *= factor
	}
	return all
}

// New returns the Telemetry of the server with that ID. It tells the histograms and the spans, and the other numbers from Watch on. Its
// errors are those of the instruments of c.Meters.
func New(id paxos.ServerID, c Config) (*Telemetry, error) {
	if c.Meters == nil {
		c.Meters = otel.GetMeterProvider()
	}
	if c.Tracers == nil {
		c.Tracers = otel.GetTracerProvider()
	}
	t := &Telemetry{id: attribute.String("server", fmt.Sprint(uint64(id))), tracer: c.Tracers.Tracer(Scope), meter: c.Meters.Meter(Scope)}
	t.own = t.with()
	t.byCall.Store(&map[outcome][]metric.RecordOption{})
	for k := range t.byKind {
		t.byKind[k] = t.with(attribute.String("kind", paxos.Kind(k).String()))
	}
	if err := t.histograms(); err != nil {
		return nil, fmt.Errorf("paxos: otel: %w", err)
	}
	if err := t.Add(t.numbers); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) with(more ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(more, t.id)...))}
}

func (t *Telemetry) histograms() error {
	var err [5]error
	seconds := func(name, help string, bounds []float64, err *error) metric.Float64Histogram {
		h, e := t.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(bounds...))
		*err = e
		return h
	}
	t.calls = seconds("paxos.call.duration", "Duration of calls, by operation and outcome.", callBounds, &err[0])
	t.trips = seconds("paxos.round_trip.duration", "Time until a quorum has answered, by the kind of the question.", tripBounds, &err[1])
	t.saves = seconds("paxos.save.duration", "Duration of Saves of the storage.", saveBounds, &err[2])
	t.saveBytes, err[3] = t.meter.Int64Histogram("paxos.save.size", metric.WithUnit("By"), metric.WithDescription("Names and values in a Save."),
		metric.WithExplicitBucketBoundaries(byteBounds...))
	t.saveRecords, err[4] = t.meter.Int64Histogram("paxos.save.records", metric.WithUnit("{record}"), metric.WithDescription("Records in a Save."),
		metric.WithExplicitBucketBoundaries(countBounds...))
	return errors.Join(err[:]...)
}

// numbers returns the metrics of the server that is watched. It waits for one turn of the server's loop, which waits for no disk and no network.
func (t *Telemetry) numbers() []paxos.Metric {
	if s := t.server.Load(); s != nil {
		return (*s).Metrics().All()
	}
	all := (paxos.Metrics{}).All()
	for i := range all {
		all[i].Values = nil
	}
	return all
}

// Add tells further metrics of the server, which source returns at each reading. These tell those of its log and of
// its network:
//
//	err := t.Add(func() []paxos.Metric { return log.Stats().Metrics() })
//	err = t.Add(func() []paxos.Metric { return transport.Stats().Metrics() })
//
// A source returns the same metrics each time, and may be called at any time until Close. The errors are those of the instruments.
func (t *Telemetry) Add(source func() []paxos.Metric) error {
	observables := map[string]metric.Float64Observable{}
	var instruments []metric.Observable
	for _, m := range source() {
		var o metric.Float64Observable
		var err error
		if name := "paxos." + m.Name; m.Counter {
			o, err = t.meter.Float64ObservableCounter(name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help))
		} else {
			o, err = t.meter.Float64ObservableGauge(name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help))
		}
		if err != nil {
			return fmt.Errorf("paxos: otel: %w", err)
		}
		observables[m.Name] = o
		instruments = append(instruments, o)
	}
	registered, err := t.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, m := range source() {
			t.tell(to, observables[m.Name], m)
		}
		return nil
	}, instruments...)
	if err != nil {
		return fmt.Errorf("paxos: otel: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.registered = append(t.registered, registered)
	return nil
}

// tell tells each value of a metric.
func (t *Telemetry) tell(to metric.Observer, o metric.Float64Observable, m paxos.Metric) {
	for _, v := range m.Values {
		set := attribute.NewSet(t.id)
		if m.Label != "" {
			set = attribute.NewSet(t.id, attribute.String(m.Label, v.Label))
		}
		to.ObserveFloat64(o, v.Value, metric.WithAttributeSet(set))
	}
}

// Watch has the numbers come from s from now on. A server that was started anew in the same process is watched in place of the old one. nil:
// none is watched.
func (t *Telemetry) Watch(s Server) {
	if s == nil {
		t.server.Store(nil)
	} else {
		t.server.Store(&s)
	}
}

// Close ends the readings: no source is called any more. Call it when the Node is closed, and before the storage is.
func (t *Telemetry) Close() (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.registered {
		err = errors.Join(err, r.Unregister())
	}
	return err
}

// Call is for a Node: see [node.Observer]. It makes a span that began with the call, below the span in ctx if there is one.
func (t *Telemetry) Call(ctx context.Context, c node.Call) {
	key := outcome{c.Op, c.Outcome}
	with, ok := (*t.byCall.Load())[key]
	if !ok {
		with = t.add(key)
	}
	ctx, span := t.tracer.Start(ctx, "paxos "+c.Op, trace.WithTimestamp(c.Began))
	t.calls.Record(ctx, c.Duration.Seconds(), with...) // with the span in ctx, a reader may keep it as an exemplar
	if span.IsRecording() {
		span.SetAttributes(t.id, attribute.String("paxos.op", c.Op), attribute.String("paxos.outcome", string(c.Outcome)))
		if c.Instance != "" {
			span.SetAttributes(attribute.String("paxos.instance", c.Instance))
		}
		if c.Err != nil {
			span.RecordError(c.Err)
			span.SetStatus(codes.Error, string(c.Outcome))
		}
	}
	span.End(trace.WithTimestamp(c.Began.Add(c.Duration)))
}

// add makes the attributes of a pair of operation and outcome. There are at most 80 pairs.
func (t *Telemetry) add(key outcome) []metric.RecordOption {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := maps.Clone(*t.byCall.Load())
	all[key] = t.with(attribute.String("op", key.op), attribute.String("outcome", string(key.outcome)))
	t.byCall.Store(&all)
	return all[key]
}

// Save is for a Node: see [node.Observer].
func (t *Telemetry) Save(s node.Save) {
	ctx := context.Background()
	t.saves.Record(ctx, s.Duration.Seconds(), t.own...)
	t.saveBytes.Record(ctx, int64(s.Bytes), t.own...)
	t.saveRecords.Record(ctx, int64(s.Records), t.own...)
}

// RoundTrip is for a Node: see [node.Observer].
func (t *Telemetry) RoundTrip(r paxos.RoundTrip) {
	t.trips.Record(context.Background(), r.Duration.Seconds(), t.byKind[r.Kind]...)
}
