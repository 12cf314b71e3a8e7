package grpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of the other services
	"google.golang.org/grpc/keepalive"

	"github.com/singledecree/paxos"
)

// largeArrives sends a packet of a megabyte until it arrives.
func largeArrives(t *testing.T, from, to *Transport) {
	t.Helper()
	p := paxos.Packet{To: to.ID(), Seq: 7, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "lunch", Value: paxos.Value(filler(1 << 20))}}}
	eventually(t, "a large packet arrives", func() bool {
		from.Send(p)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		got, err := to.Receive(ctx)
		return err == nil && got.Seq == 7
	})
}

// A host may have its own limits, workers and keepalive.
func TestHostOptions(t *testing.T) {
	for name, options := range map[string][]rpc.ServerOption{
		"small messages": {rpc.MaxRecvMsgSize(64 << 10), rpc.MaxSendMsgSize(16)},
		"few streams":    {rpc.MaxConcurrentStreams(1), rpc.NumStreamWorkers(1)},
		"keepalive": {rpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Second, Time: time.Second, Timeout: time.Second}),
			rpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Hour})},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startOn(t, plain(t, 1, 2), "127.0.0.1:0", options...), startOn(t, plain(t, 2, 2), "127.0.0.1:0", options...)
			meet(a, b)
			arrives(t, a.net, b.net, 1)
			arrives(t, b.net, a.net, 2)
			largeArrives(t, a.net, b.net)
		})
	}
}

// A connection that the host ends because of its age is opened again.
func TestHostEndsConnections(t *testing.T) {
	old := rpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 100 * time.Millisecond, MaxConnectionAgeGrace: 50 * time.Millisecond})
	c := plain(t, 1, 2)
	c.Timing.MaxRedial = 10 * time.Millisecond
	a, b := start(t, c, "127.0.0.1:0"), startOn(t, plain(t, 2, 2), "127.0.0.1:0", old)
	meet(a, b)
	eventually(t, "it is opened several times", func() bool { return a.net.Stats().Connected >= 3 })
	arrives(t, a.net, b.net, 1)
}

// A host that takes only smaller messages, or has a codec for all streams, gets no packet. The error says why.
func TestHostsThatDoNotFit(t *testing.T) {
	for want, option := range map[string]rpc.ServerOption{
		"message larger than max":        rpc.MaxRecvMsgSize(maxChunk / 2),
		"message is *grpc.message, want": rpc.ForceServerCodecV2(encoding.GetCodecV2("proto")),
	} {
		t.Run(want, func(t *testing.T) {
			a, b := start(t, plain(t, 1, 2), "127.0.0.1:0"), startOn(t, plain(t, 2, 2), "127.0.0.1:0", option)
			meet(a, b)
			p := paxos.Packet{To: 2, Seq: 7, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "lunch", Value: paxos.Value(filler(maxChunk))}}}
			eventually(t, "it says why", func() bool {
				a.net.Send(p)
				return strings.Contains(a.net.Stats().Peers[0].Err, want)
			})
			require.Zero(t, b.net.Stats().Received)
		})
	}
}
