package tcp

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// benchPacket has messages of 64-byte values, as they are on the wire.
func benchPacket(from, to paxos.ServerID, messages int) paxos.Packet {
	p := paxos.Packet{From: from, To: to, Store: 1 << 60, Boot: 3, Nonce: 1 << 61, Members: 1 << 62, Index: 1000}
	for i := range messages {
		p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprintf("instance %07d", i),
			Ballot: paxos.Ballot{Round: 10001, Server: from}, Value: paxos.Value(make([]byte, 64))})
	}
	return p
}

// benchPairs runs a benchmark plain and under TLS, on servers that are connected both ways.
func benchPairs(b *testing.B, run func(b *testing.B, x, y *Transport)) {
	for _, c := range []struct {
		name   string
		config func(paxos.ServerID, int) Config
	}{{"plain", plainConfig}, {"TLS", secureConfig}} {
		b.Run(c.name, func(b *testing.B) {
			x, y := pair(b, c.config)
			arrives(b, x, y, 1)
			arrives(b, y, x, 1)
			run(b, x, y)
		})
	}
}

// BenchmarkOneWay sends as fast as packets arrive: 1,024 at most are on their way.
func BenchmarkOneWay(b *testing.B) {
	for _, messages := range []int{1, 64} {
		b.Run(fmt.Sprintf("messages=%d", messages), func(b *testing.B) {
			benchPairs(b, func(b *testing.B, x, y *Transport) {
				p := benchPacket(1, 2, messages)
				window := make(chan struct{}, 1024)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				b.ReportAllocs()
				before := x.Stats()
				b.ResetTimer()
				go func() {
					for range b.N {
						window <- struct{}{}
						x.Send(p)
					}
				}()
				for range b.N {
					_, err := y.Receive(ctx)
					require.NoError(b, err)
					<-window
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
				b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "messages/s")
				b.ReportMetric(float64(x.Stats().Writes-before.Writes)/float64(b.N), "writes/packet")
			})
		})
	}
}

// BenchmarkRoundTrip sends a packet, which the other server sends back.
func BenchmarkRoundTrip(b *testing.B) {
	for _, messages := range []int{1, 64} {
		b.Run(fmt.Sprintf("messages=%d", messages), func(b *testing.B) {
			benchPairs(b, func(b *testing.B, x, y *Transport) { roundTrips(b, x, y, messages) })
		})
	}
}

// BenchmarkRoundTripBesideStrangers is the same while 10,000 connections of strangers have come, who say nothing.
func BenchmarkRoundTripBesideStrangers(b *testing.B) {
	benchPairs(b, func(b *testing.B, x, y *Transport) {
		defer startCrowd(b, x.Addr().String(), 10000, nil)()
		roundTrips(b, x, y, 1)
	})
}

func roundTrips(b *testing.B, x, y *Transport, messages int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		for {
			p, err := y.Receive(ctx)
			if err != nil {
				return
			}
			p.To = 1
			y.Send(p)
		}
	}()
	p := benchPacket(1, 2, messages)
	times := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		x.Send(p)
		_, err := x.Receive(ctx)
		require.NoError(b, err)
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-us")
}
