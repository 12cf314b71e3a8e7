package grpc

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout is how long a test waits for what has to happen.
const timeout = 20 * time.Second

func newAuthority() *certs.Authority {
	a, err := certs.NewAuthority("prod", 0)
	if err != nil {
		panic(err)
	}
	return a
}

// theAuthority signs for all servers that belong together.
var theAuthority = sync.OnceValue(newAuthority)

// certificate returns a configuration with a certificate of that server.
func certificate(t testing.TB, a *certs.Authority, id paxos.ServerID) *tls.Config {
	t.Helper()
	c, err := a.TLS(id)
	require.NoError(t, err)
	return c
}

func members(n int) paxos.Members {
	m := paxos.Members{Cluster: "prod"}
	for id := range n {
		m.Acceptors = append(m.Acceptors, paxos.ServerID(id+1))
	}
	return m
}

// A host is a grpc.Server, and the Transport on it.
type host struct {
	net    *Transport
	server *rpc.Server
	addr   string
}

// start starts a host. Both end when the test does, if not before.
func start(t testing.TB, c Config, addr string) *host {
	t.Helper()
	var options []rpc.ServerOption
	if c.TLS != nil { // as of a host that has other clients, without certificates
		options = append(options, rpc.Creds(credentials.NewTLS(&tls.Config{Certificates: c.TLS.Certificates, ClientAuth: tls.RequestClientCert})))
	}
	return startOn(t, c, addr, options...)
}

func startOn(t testing.TB, c Config, addr string, options ...rpc.ServerOption) *host {
	t.Helper()
	n, err := New(c)
	require.NoError(t, err)
	h := &host{net: n, server: rpc.NewServer(options...)}
	n.Register(h.server)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	h.addr = l.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.server.Serve(l)
	}()
	t.Cleanup(func() {
		h.end()
		<-served
	})
	return h
}

func (h *host) end() {
	h.net.Close()
	h.server.Stop()
}

func secure(t testing.TB, id paxos.ServerID, n int) Config {
	return Config{ID: id, Members: members(n), TLS: certificate(t, theAuthority(), id)}
}

func plain(_ testing.TB, id paxos.ServerID, n int) Config {
	return Config{ID: id, Members: members(n), Plain: true}
}

// meet tells each where the others are.
func meet(all ...*host) {
	for _, a := range all {
		for _, b := range all {
			a.net.Reach(b.net.ID(), b.addr)
		}
	}
}

func packetOf(to paxos.ServerID, seq uint64) paxos.Packet {
	return paxos.Packet{To: to, Seq: seq, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "lunch", Value: "burger"}}}
}

// arrives sends a packet until it arrives.
func arrives(t testing.TB, from, to *Transport, seq uint64) {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		from.Send(packetOf(to.ID(), seq))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		p, err := to.Receive(ctx)
		cancel()
		if err == nil && p.From == from.ID() && p.Seq == seq {
			return
		}
	}
	require.Fail(t, "it does not arrive", "%+v\n%+v", from.Stats(), to.Stats())
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, timeout, 2*time.Millisecond, what)
}
