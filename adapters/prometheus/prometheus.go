// Package prometheus exposes the numbers of a server to Prometheus. [Metrics] is a [prom.Collector] and a [node.Observer]:
//
//	m := prometheus.New(id)
//	registry.MustRegister(m)
//	n, err := node.Start(ctx, node.Config{ID: id, Observer: m, …})
//	…
//	m.Watch(n)
//
// Each metric has the label "server", which is the ID of the server. No label is the name of an instance. docs/operations.md has the
// meaning of each metric, and the alerts. The folder deploy/monitoring has rules for alerts and a dashboard.
//
// Two clusters in one process may both have a server 1. Wrap the registry for each of them then, with [prom.WrapRegistererWith] and a label
// for the cluster.
package prometheus

import (
	"context"
	"fmt"
	"sync/atomic"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A Server has numbers. [*node.Node] is one.
type Server interface{ Metrics() paxos.Metrics }

// Metrics collect the numbers of one server, and observe its calls, Saves and round trips. Make them with [New]. Their methods are safe for
// concurrent use.
type Metrics struct {
	server atomic.Pointer[Server] // nil: none is watched
	descs  map[string]*prom.Desc  // by paxos.Metric.Name

	calls       *calls
	trips       *prom.HistogramVec
	saves       prom.Histogram
	saveBytes   prom.Histogram
	saveRecords prom.Histogram
	// The histograms of trips. To ask for one costs more than the observation.
	byKind [len(paxos.Counters{}.Sent)]atomic.Pointer[prom.Observer]
}

// New returns the Metrics of the server with that ID. They have its histograms, and its other numbers from Watch on.
func New(id paxos.ServerID) *Metrics {
	labels := prom.Labels{"server": fmt.Sprint(uint64(id))}
	histogram := func(name, help string, buckets []float64) prom.HistogramOpts {
		return prom.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: buckets}
	}
	m := &Metrics{
		descs: map[string]*prom.Desc{},
		calls: newCalls(labels),
		trips: prom.NewHistogramVec(histogram("paxos_round_trip_duration_seconds", "Time until a quorum has answered, by the kind of the question.",
			prom.ExponentialBuckets(0.0001, 2, 17)), []string{"kind"}),
		saves: prom.NewHistogram(histogram("paxos_save_duration_seconds", "Duration of Saves of the storage.",
			prom.ExponentialBuckets(0.0001, 2, 16))),
		saveBytes: prom.NewHistogram(histogram("paxos_save_size_bytes", "Names and values in a Save.",
			prom.ExponentialBuckets(64, 4, 11))),
		saveRecords: prom.NewHistogram(histogram("paxos_save_records", "Records in a Save.",
			prom.ExponentialBuckets(1, 2, 13))),
	}
	for _, metric := range (paxos.Metrics{}).All() {
		m.descs[metric.Name] = prom.NewDesc(Name(metric), metric.Help, variable(metric), labels)
	}
	return m
}

// Name returns the name under which Prometheus knows a metric: "paxos_", its Name, the unit, and "_total" if it is a counter.
func Name(m paxos.Metric) string {
	name := "paxos_" + m.Name
	switch m.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if m.Counter {
		name += "_total"
	}
	return name
}

func variable(m paxos.Metric) []string {
	if m.Label == "" {
		return nil
	}
	return []string{m.Label}
}

// Watch has the numbers come from s from now on. A server that was started anew in the same process is watched in place of the old one. nil:
// none is watched.
func (m *Metrics) Watch(s Server) {
	if s == nil {
		m.server.Store(nil)
	} else {
		m.server.Store(&s)
	}
}

// Describe is for a [prom.Registry].
func (m *Metrics) Describe(to chan<- *prom.Desc) {
	for _, c := range m.histograms() {
		c.Describe(to)
	}
	for _, d := range m.descs {
		to <- d
	}
}

// Collect is for a [prom.Registry]. It waits for one turn of the server's loop, which waits for no disk and no network.
func (m *Metrics) Collect(to chan<- prom.Metric) {
	for _, c := range m.histograms() {
		c.Collect(to)
	}
	s := m.server.Load()
	if s == nil {
		return
	}
	for _, metric := range (*s).Metrics().All() {
		send(to, metric, m.descs[metric.Name])
	}
}

// send sends each value of a metric.
func send(to chan<- prom.Metric, m paxos.Metric, desc *prom.Desc) {
	kind := prom.GaugeValue
	if m.Counter {
		kind = prom.CounterValue
	}
	for _, v := range m.Values {
		if m.Label == "" {
			to <- prom.MustNewConstMetric(desc, kind, v.Value)
		} else {
			to <- prom.MustNewConstMetric(desc, kind, v.Value, v.Label)
		}
	}
}

// Of returns a collector of further metrics of the server with that ID, which source returns at each scrape. These have those of its log and
// of its network:
//
//	registry.MustRegister(prometheus.Of(id, func() []paxos.Metric { return log.Stats().Metrics() }))
//	registry.MustRegister(prometheus.Of(id, func() []paxos.Metric { return transport.Stats().Metrics() }))
//
// A source returns the same metrics each time, and may be called at any time, also by several goroutines.
func Of(id paxos.ServerID, source func() []paxos.Metric) prom.Collector { return &others{id, source} }

type others struct {
	id     paxos.ServerID
	source func() []paxos.Metric
}

func (o *others) desc(m paxos.Metric) *prom.Desc {
	return prom.NewDesc(Name(m), m.Help, variable(m), prom.Labels{"server": fmt.Sprint(uint64(o.id))})
}

func (o *others) Describe(to chan<- *prom.Desc) {
	for _, m := range o.source() {
		to <- o.desc(m)
	}
}

func (o *others) Collect(to chan<- prom.Metric) {
	for _, m := range o.source() {
		send(to, m, o.desc(m))
	}
}

func (m *Metrics) histograms() []prom.Collector {
	return []prom.Collector{m.calls, m.trips, m.saves, m.saveBytes, m.saveRecords}
}

// Call is for a Node: see [node.Observer].
func (m *Metrics) Call(_ context.Context, c node.Call) {
	m.calls.of(c.Op, c.Outcome).observe(c.Duration)
}

// Save is for a Node: see [node.Observer].
func (m *Metrics) Save(s node.Save) {
	m.saves.Observe(s.Duration.Seconds())
	m.saveBytes.Observe(float64(s.Bytes))
	m.saveRecords.Observe(float64(s.Records))
}

// RoundTrip is for a Node: see [node.Observer].
func (m *Metrics) RoundTrip(r paxos.RoundTrip) {
	to := m.byKind[r.Kind].Load()
	if to == nil {
		o := m.trips.WithLabelValues(r.Kind.String())
		to = &o
		m.byKind[r.Kind].Store(to)
	}
	(*to).Observe(r.Duration.Seconds())
}
