package grpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

var kinds = map[string]func(testing.TB, paxos.ServerID, int) Config{"TLS": secure, "plain": plain}

func TestTransportSuite(t *testing.T) {
	for name, config := range kinds {
		t.Run(name, func(t *testing.T) {
			nets := map[*testing.T]map[paxos.ServerID]*host{}
			paxostest.TestTransport(t, func(t *testing.T, ids ...paxos.ServerID) (ends []paxos.Transport) {
				if nets[t] == nil {
					nets[t] = map[paxos.ServerID]*host{}
				}
				for _, id := range ids {
					addr := "127.0.0.1:0"
					if old := nets[t][id]; old != nil { // it was restarted
						old.end()
						addr = old.addr
					}
					h := start(t, config(t, id, 4), addr)
					nets[t][id] = h
					for _, known := range nets[t] {
						meet(h, known)
					}
					ends = append(ends, h.net)
				}
				return ends
			})
		})
	}
}

func TestReachSuite(t *testing.T) {
	for name, config := range kinds {
		t.Run(name, func(t *testing.T) {
			paxostest.TestReach(t, func(t *testing.T, id paxos.ServerID) (paxos.ReachTransport, string) {
				c := config(t, id, 1)
				c.Members.Acceptors[0] = id
				h := start(t, c, "127.0.0.1:0")
				return h.net, h.addr
			})
		})
	}
}

// Three servers decide over one grpc.Server each, which goes on with its other service. One of them restarts.
func TestNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	m := members(3)
	hosts, nodes, storages := map[paxos.ServerID]*host{}, map[paxos.ServerID]*node.Node{}, map[paxos.ServerID]paxos.Storage{}
	run := func(id paxos.ServerID, addr string) {
		h := start(t, secure(t, id, 3), addr)
		hosts[id] = h
		for _, other := range hosts {
			meet(h, other)
		}
		n, err := node.Start(ctx, node.Config{ID: id, Members: m, Storage: storages[id], Transport: h.net})
		require.NoError(t, err)
		nodes[id] = n
	}
	for _, id := range m.Acceptors {
		storages[id] = memory.NewStorage()
		require.NoError(t, paxos.Format(storages[id], id, m))
		run(id, "127.0.0.1:0")
	}
	decide := func(name string) {
		for _, id := range m.Acceptors {
			d, err := nodes[id].Propose(ctx, name, paxos.Value(fmt.Sprint("of ", id)))
			require.NoError(t, err)
			first, err := nodes[1].Wait(ctx, name)
			require.NoError(t, err)
			assert.Equal(t, first.Value, d.Value)
		}
	}
	for i := range 20 {
		decide(fmt.Sprint("job/", i))
	}
	require.NoError(t, nodes[3].Close())
	hosts[3].end()
	_, err := nodes[1].Propose(ctx, "while 3 is away", "x")
	require.NoError(t, err)
	run(3, hosts[3].addr)
	d, err := nodes[3].Wait(ctx, "while 3 is away")
	require.NoError(t, err)
	assert.Equal(t, paxos.Value("x"), d.Value)
	decide("after the restart")
	for _, n := range nodes {
		require.NoError(t, n.Close())
	}
	// The hosts end after their Transports, in peace.
	for _, h := range hosts {
		require.NoError(t, h.net.Close())
		h.server.GracefulStop()
	}
}

// open opens a stream by hand, and returns its end.
func open(t *testing.T, to *host, c *tls.Config, md metadata.MD, says ...[]byte) error {
	t.Helper()
	c = c.Clone()
	c.InsecureSkipVerify = true
	conn, err := rpc.NewClient("passthrough:///"+to.addr, rpc.WithTransportCredentials(credentials.NewTLS(c)))
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	stream, err := conn.NewStream(metadata.NewOutgoingContext(ctx, md), &rpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		"/"+service+"/"+packets, rpc.CallContentSubtype(subtype))
	require.NoError(t, err)
	for _, b := range says {
		stream.SendMsg(&message{b})
	}
	for {
		if err := stream.RecvMsg(&message{}); err != nil {
			return err
		}
	}
}

// A stranger is refused, whatever it shows and says. The status says why.
func TestStrangersAreRefused(t *testing.T) {
	a := start(t, secure(t, 1, 3), "127.0.0.1:0")
	own := certificate(t, theAuthority(), 2)
	good := hello{"prod", 2, 1, 7, 1 << 20}
	change := func(f func(*hello)) metadata.MD { h := good; f(&h); return h.metadata() }
	for want, one := range map[string]struct {
		tls *tls.Config
		md  metadata.MD
	}{
		"x509: certificate signed by unknown authority": {certificate(t, newAuthority(), 2), good.metadata()},
		"the client shows no certificate":               {&tls.Config{}, good.metadata()},
		`the certificate names "paxos:prod/3"`:          {certificate(t, theAuthority(), 3), good.metadata()},
		"server 4 is not one of the other members":      {certificate(t, theAuthority(), 4), change(func(h *hello) { h.from = 4 })},
		`server 2 is of cluster "dinner"`:               {own, change(func(h *hello) { h.cluster = "dinner" })},
		"but this is server 1: check the address":       {own, change(func(h *hello) { h.to = 3 })},
		"it has 0 introductions":                        {own, metadata.MD{}},
		"it has 2 introductions":                        {own, metadata.Join(good.metadata(), good.metadata())},
		"it speaks version 9":                           {own, metadata.Pairs(introduce, "\x09")},
		"its introduction is malformed":                 {own, metadata.Pairs(introduce, "\x01\xff\xff\xff\xff\x0f")},
		"introduction is malformed":                     {own, metadata.Pairs(introduce, good.metadata().Get(introduce)[0][:9])},
	} {
		err := open(t, a, one.tls, one.md)
		assert.ErrorContains(t, err, want)
		assert.NotEqual(t, "Unknown", status.Code(err).String())
	}
	s := a.net.Stats()
	assert.EqualValues(t, 11, s.Refused)
	assert.Zero(t, s.Welcomed)
	for _, p := range s.Peers {
		assert.False(t, p.In)
	}
}

// A member that does not keep to the protocol loses its stream, and nothing of it is received. Others go on.
func TestBrokenMembers(t *testing.T) {
	c := secure(t, 1, 3)
	c.Limits.MaxPacket = 8 << 10
	a, b := start(t, c, "127.0.0.1:0"), start(t, secure(t, 3, 3), "127.0.0.1:0")
	meet(a, b)
	encode := func(p paxos.Packet) []byte {
		f, err := p.AppendBinary(make([]byte, 10))
		require.NoError(t, err)
		return sized(f)
	}
	from2 := packetOf(1, 1)
	from2.From = 2
	forged, stray := from2, from2
	forged.From, stray.To = 3, 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, ended := make(chan paxos.Packet, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			p, err := a.net.Receive(ctx)
			if err != nil {
				return
			}
			got <- p
		}
	}()
	defer func() { cancel(); <-ended }()
	for want, says := range map[string][][]byte{
		"from server 3 to server 1":   {encode(forged)},
		"from server 2 to server 3":   {encode(stray)},
		"malformed packet":            {{3, 1, 2, 3}},
		"claims 1048576 bytes":        {{0x80, 0x80, 0x40}},
		"at most 8192 are allowed":    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"larger than a chunk may be":  {make([]byte, maxChunk+1)},
		"a packet claims 16383 bytes": {{0}, {0xff}, {0x7f}},
	} {
		err := open(t, a, certificate(t, theAuthority(), 2), hello{"prod", 2, 1, 7, 1 << 20}.metadata(), says...)
		assert.ErrorContains(t, err, want)
	}
	assert.EqualValues(t, 7, a.net.Stats().Broken)
	assert.Empty(t, got)
	for seq := uint64(1); len(got) == 0; seq++ {
		b.net.Send(packetOf(1, seq))
		select {
		case p := <-got:
			assert.Equal(t, paxos.ServerID(3), p.From)
			got <- p
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A second process under the identity of a server is refused while the first one answers. The first one's successor is not.
func TestSecondProcess(t *testing.T) {
	a := start(t, secure(t, 1, 2), "127.0.0.1:0")
	first := start(t, secure(t, 2, 2), "127.0.0.1:0")
	meet(a, first)
	arrives(t, first.net, a.net, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			a.net.Receive(ctx)
		}
	}()
	second := start(t, secure(t, 2, 2), "127.0.0.1:0")
	second.net.Reach(1, a.addr)
	eventually(t, "it is refused", func() bool { return second.net.Stats().DialsFailed > 0 })
	assert.Contains(t, second.net.Stats().Peers[0].Err, "another process is connected as this server, and lives")
	assert.True(t, first.net.Stats().Peers[0].Out)
	first.end()
	eventually(t, "it takes over", func() bool { return second.net.Stats().Peers[0].Out })
}

// Streams end when nothing is heard any more, on both sides, and begin anew.
func TestSilenceEndsStreams(t *testing.T) {
	config := func(id paxos.ServerID) Config {
		c := secure(t, id, 2)
		c.Timing = Timing{KeepAlive: 20 * time.Millisecond, Idle: 200 * time.Millisecond, MaxRedial: 20 * time.Millisecond}
		return c
	}
	a, b := start(t, config(1), "127.0.0.1:0"), start(t, config(2), "127.0.0.1:0")
	wall := newWall(t, a.addr)
	a.net.Reach(2, b.addr)
	b.net.Reach(1, wall.addr)
	arrives(t, b.net, a.net, 1)
	eventually(t, "beats keep an idle stream", func() bool { return a.net.Stats().Peers[0].In })
	before := b.net.Stats().Connected
	wall.silent(true)
	eventually(t, "the dialer notices", func() bool { return !b.net.Stats().Peers[0].Out })
	eventually(t, "the listener notices", func() bool { return !a.net.Stats().Peers[0].In })
	wall.silent(false)
	eventually(t, "it connects anew", func() bool { return b.net.Stats().Connected > before && a.net.Stats().Peers[0].In })
	arrives(t, b.net, a.net, 2)
}

// New certificates are used at once. An authority that is taken away is refused from then on.
func TestSetTLS(t *testing.T) {
	a, b := start(t, secure(t, 1, 2), "127.0.0.1:0"), start(t, secure(t, 2, 2), "127.0.0.1:0")
	meet(a, b)
	arrives(t, a.net, b.net, 1)
	eventually(t, "b has dialed", func() bool { return a.net.Stats().Peers[0].In && b.net.Stats().Connected == 1 })
	s := a.net.Stats()
	assert.WithinDuration(t, time.Now().Add(90*24*time.Hour), s.Expires, time.Hour)
	assert.WithinDuration(t, s.Expires, s.Peers[0].Expires, time.Minute)
	require.NoError(t, b.net.SetTLS(certificate(t, theAuthority(), 2)))
	eventually(t, "it dials anew", func() bool { return b.net.Stats().Connected >= 2 })
	arrives(t, b.net, a.net, 2)
	require.NoError(t, a.net.SetTLS(certificate(t, newAuthority(), 1)))
	eventually(t, "the old authority is refused", func() bool { return a.net.Stats().Refused > 0 && !a.net.Stats().Peers[0].In })
	require.ErrorContains(t, a.net.SetTLS(&tls.Config{}), "grpc: set TLS: TLS.RootCAs: nil")
	require.ErrorContains(t, start(t, plain(t, 1, 2), "127.0.0.1:0").net.SetTLS(&tls.Config{}), "Config.Plain")
}

// The host serves others on the same port, and its certificate may name a host.
func TestHostHasOtherServices(t *testing.T) {
	a := secure(t, 1, 2)
	n, err := New(a)
	require.NoError(t, err)
	h := &host{net: n, server: rpc.NewServer(rpc.Creds(credentials.NewTLS(&tls.Config{Certificates: a.TLS.Certificates})))}
	healthpb.RegisterHealthServer(h.server, health.NewServer())
	n.Register(h.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() { defer close(served); h.server.Serve(l) }()
	defer func() { h.end(); <-served }()
	conn, err := rpc.NewClient("passthrough:///"+l.Addr().String(), rpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	require.NoError(t, err)
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	assert.Equal(t, healthpb.HealthCheckResponse_SERVING, answer.Status)
	// This host asks for no certificates, so no server can prove who it is.
	b := start(t, secure(t, 2, 2), "127.0.0.1:0")
	b.net.Reach(1, l.Addr().String())
	eventually(t, "the error says it", func() bool { return b.net.Stats().DialsFailed > 0 })
	assert.Contains(t, b.net.Stats().Peers[0].Err, "the grpc.Server does not ask for one")
	// Another server's address is found out by the certificate, and by the host name if that is to be verified.
	c := secure(t, 2, 3)
	c.Peers = map[paxos.ServerID]string{3: l.Addr().String()}
	wrong := start(t, c, "127.0.0.1:0")
	eventually(t, "the certificate is wrong", func() bool { return wrong.net.Stats().DialsFailed > 0 })
	assert.Contains(t, wrong.net.Stats().Peers[1].Err, "and server 3 of cluster")
	c.HostNames = true
	named := start(t, c, "127.0.0.1:0")
	eventually(t, "the host name is wrong", func() bool { return named.net.Stats().DialsFailed > 0 })
	assert.Contains(t, named.net.Stats().Peers[1].Err, "127.0.0.1 because it doesn't contain any IP SANs")
}

// Each error of New names the field.
func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"Config.ID: 0":                           func(c *Config) { c.ID = 0 },
		"Config.ID: server 9":                    func(c *Config) { c.ID = 9 },
		"Config.Members.Cluster: \"\"":           func(c *Config) { c.Members.Cluster = "" },
		"Config.Members: 0":                      func(c *Config) { c.Members.Learners = []paxos.ServerID{0} },
		"Config.TLS: nil":                        func(c *Config) { c.TLS = nil },
		"Config.Plain: true":                     func(c *Config) { c.Plain = true },
		"Config.TLS.RootCAs: nil":                func(c *Config) { c.TLS = &tls.Config{} },
		"Config.TLS.Certificates: empty":         func(c *Config) { c.TLS = &tls.Config{RootCAs: c.TLS.RootCAs} },
		"Config.Peers: server 1 is this one":     func(c *Config) { c.Peers = map[paxos.ServerID]string{1: "a:1"} },
		"Config.Peers: server 9 is not":          func(c *Config) { c.Peers = map[paxos.ServerID]string{9: "a:1"} },
		"Config.Peers: server 2: address a: mis": func(c *Config) { c.Peers = map[paxos.ServerID]string{2: "a"} },
		"Config.Limits.MaxPacket: 1: want 4096":  func(c *Config) { c.Limits.MaxPacket = 1 },
		"Config.Limits.QueueBytes: 1: want":      func(c *Config) { c.Limits.QueueBytes = 1 },
		"Config.Timing.KeepAlive: 1m0s: want":    func(c *Config) { c.Timing.KeepAlive = time.Minute },
		"Config.Timing.Probe: 5s: want":          func(c *Config) { c.Timing.Probe = 5 * time.Second },
	} {
		c := secure(t, 1, 2)
		change(&c)
		_, err := New(c)
		assert.ErrorContains(t, err, "grpc: new: "+want)
	}
}

// Packets of a server that leaves are not received any more, though they were read before.
func TestNothingMoreFromAServerThatLeft(t *testing.T) {
	a, b := start(t, secure(t, 1, 2), "127.0.0.1:0"), start(t, secure(t, 2, 2), "127.0.0.1:0")
	a.net.Reach(2, "127.0.0.1:1") // nobody is there, so that the packets gather
	for seq := range uint64(100) {
		a.net.Send(packetOf(2, seq))
	}
	meet(a, b)
	p, err := b.net.Receive(t.Context())
	require.NoError(t, err)
	assert.Zero(t, p.Seq)
	b.net.Reach(1, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.net.Receive(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualValues(t, 1, b.net.Stats().Received)
}
