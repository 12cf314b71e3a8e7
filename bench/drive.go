package main

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// nameOf returns a 16-byte name, other for each i, and in no order.
func nameOf(i uint64) string {
	const digits = "0123456789abcdef"
	x := i * 0x9E3779B97F4A7C15 // odd: no two are the same
	var name [16]byte
	for j := range name {
		name[j] = digits[x>>60]
		x <<= 4
	}
	return string(name[:])
}

// valuesFor returns a value for each caller, all of them different and none to be compressed.
func valuesFor(callers, size int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size+callers*8)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	all, values := string(b), make([]string, callers)
	for i := range values {
		values[i] = all[i*8 : i*8+size]
	}
	return values
}

// A driver has callers propose in a closed loop: each asks for the next name when it has the answer to the last.
type driver struct {
	cluster   cluster
	work      work
	next      atomic.Uint64 // name, where nothing is contended
	decided   atomic.Uint64 // names; where all is contended
	measuring atomic.Bool
	stop      atomic.Bool
	mu        sync.Mutex // guards what follows
	all       histogram
	errors    int
	first     error
}

// drive measures j. Only calls that end within the window count.
func drive(c cluster, j job) result {
	d := &driver{cluster: c, work: j.Work}
	ctx, cancel := context.WithTimeout(context.Background(), j.Warm+j.Window+20*time.Second)
	defer cancel()
	var callers sync.WaitGroup
	for i, value := range valuesFor(j.Work.Callers, j.Work.Value) {
		callers.Go(func() { d.call(ctx, i, value) })
	}
	time.Sleep(j.Warm)
	before := look(d)
	d.measuring.Store(true)
	time.Sleep(j.Window)
	d.measuring.Store(false)
	after := look(d)
	d.stop.Store(true)
	callers.Wait()
	return d.result(before, after)
}

func (d *driver) call(ctx context.Context, caller int, value string) {
	h := &histogram{}
	failed, first := 0, error(nil)
	for own := uint64(0); !d.stop.Load() && ctx.Err() == nil; own++ {
		i := own
		if !d.work.Contended {
			i = d.next.Add(1)
		}
		began := time.Now()
		if err := d.cluster.propose(ctx, caller, nameOf(i), value); err != nil {
			if failed++; first == nil {
				first = err
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if d.measuring.Load() {
			h.record(time.Since(began))
		}
		if d.work.Contended {
			raise(&d.decided, i+1)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.add(h)
	d.errors += failed
	if d.first == nil {
		d.first = first
	}
}

// raise makes v at least to.
func raise(v *atomic.Uint64, to uint64) {
	for old := v.Load(); old < to && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}

// A glance is what is known at one moment.
type glance struct {
	at       time.Time
	cpu      cpuTimes
	mallocs  uint64
	bytes    uint64
	decided  uint64
	counters counts
}

func look(d *driver) glance {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return glance{time.Now(), readCPU(), m.Mallocs, m.TotalAlloc, d.decided.Load(), d.cluster.counts()}
}

func (d *driver) result(before, after glance) result {
	seconds := after.at.Sub(before.at).Seconds()
	r := result{Calls: d.all.n, Decisions: d.all.n, Seconds: seconds, Errors: d.errors, Max: micros(d.all.max),
		P50: micros(d.all.quantile(0.5)), P99: micros(d.all.quantile(0.99)), P999: micros(d.all.quantile(0.999))}
	if d.work.Contended {
		r.Decisions = after.decided - before.decided
	}
	if d.first != nil {
		r.Error = d.first.Error()
	}
	own := after.cpu.own - before.cpu.own
	r.OtherCPU = max(0, after.cpu.busy-before.cpu.busy-own) / seconds
	if r.Decisions == 0 {
		return r
	}
	n := float64(r.Decisions)
	r.PerSecond = n / seconds
	r.Allocs = float64(after.mallocs-before.mallocs) / n
	r.Bytes = float64(after.bytes-before.bytes) / n
	r.CPU = own * 1e6 / n
	if before.counters.syncs >= 0 {
		syncs := float64(after.counters.syncs-before.counters.syncs) / n / float64(d.work.Servers)
		r.Syncs = &syncs
	}
	if before.counters.messages >= 0 {
		messages := float64(after.counters.messages-before.counters.messages) / n
		r.Messages = &messages
	}
	for _, q := range curveAt {
		if float64(d.all.n)*(1-q) >= 1 { // else nobody knows
			r.Curve = append(r.Curve, micros(d.all.quantile(q)))
		}
	}
	return r
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
