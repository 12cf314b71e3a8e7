package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkStops stops the server that stands, under 16 callers that are spread over 3 server processes. It reports the longest pauses in
// which no call of any caller succeeded, before and after, as medians over the iterations. For 5 of each:
//
//	go test ./examples/cluster -run '^$' -bench Stops -benchtime 5x
func BenchmarkStops(b *testing.B) {
	for _, how := range []struct {
		name string
		stop func(*child) error
	}{
		{"kill", (*child).kill},
		{"SIGSTOP", (*child).pause},
	} {
		b.Run(how.name, func(b *testing.B) {
			requireSignals(b)
			file := program(b)
			var before, after []time.Duration
			for b.Loop() {
				s := &stopping{apart: newApart(b, file, 3)}
				x, y := s.run(how.stop)
				before, after = append(before, x), append(after, y)
				s.end()
			}
			report := func(pauses []time.Duration, unit string) {
				slices.Sort(pauses)
				b.ReportMetric(float64(pauses[len(pauses)/2].Microseconds())/1000, unit)
			}
			report(before, "ms-before")
			report(after, "ms-after")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A stopping is a cluster with callers, and when their calls have succeeded.
type stopping struct {
	*apart
	mu  sync.Mutex
	got []time.Time
}

// run returns the longest pauses before and after the server that stands is stopped.
func (s *stopping) run(stop func(*child) error) (before, after time.Duration) {
	const warm, part = time.Second, 3 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer cancel()
	for i := range clients {
		callers.Go(func() { s.caller(ctx, i) })
	}
	<-time.After(warm)
	begun := time.Now()
	<-time.After(part)
	victim := s.standing(ctx)
	stopped := time.Now()
	require.NoError(s.t, stop(victim))
	<-time.After(part)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest(begun, stopped), s.longest(stopped, time.Now())
}

// caller proposes one name after the other at a server. After a call that fails or takes a second it goes to the next server.
func (s *stopping) caller(ctx context.Context, i int) {
	server := i % len(s.children)
	for n := 0; ctx.Err() == nil; n++ {
		if _, reach := s.children[server].now(); reach != nil {
			if _, err := reach.propose(ctx, fmt.Sprintf("%d/%d", i, n), "v", time.Second); err == nil {
				s.mu.Lock()
				s.got = append(s.got, time.Now())
				s.mu.Unlock()
				continue
			}
		}
		server = (server + 1) % len(s.children)
	}
}

// standing returns the server that stands.
func (s *stopping) standing(ctx context.Context) *child {
	for _, c := range s.children {
		if _, reach := c.now(); reach != nil {
			if status, err := reach.status(ctx, aWhile); err == nil && status.Stands != "" {
				return c
			}
		}
	}
	require.Fail(s.t, "no server stands")
	return nil
}

// longest returns the longest time between two calls that succeeded, or between one and an end of that period.
func (s *stopping) longest(from, to time.Time) (most time.Duration) {
	last := from
	for _, at := range s.got {
		if at.After(from) && at.Before(to) {
			most, last = max(most, at.Sub(last)), at
		}
	}
	return max(most, to.Sub(last))
}
