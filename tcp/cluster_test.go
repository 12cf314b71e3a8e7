package tcp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
)

// certificates makes an authority, and the TLS configurations with which servers 1 to n know each other by it.
func certificates(t *testing.T, cluster string, n int) map[paxos.ServerID]*tls.Config {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cluster}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	rootKey := newKey()
	der, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	require.NoError(t, err)
	root, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	configs := map[paxos.ServerID]*tls.Config{}
	for i := range n {
		id := paxos.ServerID(i + 1)
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), URIs: []*url.URL{tcp.Identity(cluster, id)},
			NotBefore: root.NotBefore, NotAfter: root.NotAfter}
		key := newKey()
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey)
		require.NoError(t, err)
		configs[id] = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	}
	return configs
}

// A server is a Node over its own Transport, with a storage that outlives both.
type server struct {
	id      paxos.ServerID
	members paxos.Members
	tls     *tls.Config // nil: plain
	storage paxos.Storage
	limits  paxos.Limits
	timing  paxos.Timing
	lines   tcp.Limits // of the Transport
	addrs   map[paxos.ServerID]string

	mu   sync.Mutex
	net  *tcp.Transport
	node *node.Node
}

func (s *server) listen(t *testing.T) {
	t.Helper()
	addr := s.addrs[s.id]
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	tr, err := tcp.Listen(tcp.Config{ID: s.id, Members: s.members, Addr: addr, TLS: s.tls, Plain: s.tls == nil, Limits: s.lines})
	require.NoError(t, err)
	s.net = tr
	s.addrs[s.id] = tr.Addr().String()
}

// run starts the Node, when all addresses are known.
func (s *server) run(t *testing.T) {
	t.Helper()
	for id, addr := range s.addrs {
		if id != s.id {
			require.NoError(t, s.net.SetAddr(id, addr))
		}
	}
	node, err := node.Start(context.Background(), node.Config{ID: s.id, Members: s.members, Storage: s.storage, Transport: s.net,
		Limits: s.limits, Timing: s.timing})
	require.NoError(t, err)
	s.mu.Lock()
	s.node = node
	s.mu.Unlock()
}

func (s *server) now() *node.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	assert.NoError(t, s.now().Close())
	assert.NoError(t, s.net.Close())
}

// Three servers over mutual TLS decide what several goroutines propose at each of them, while one is stopped and started
// again. All agree, and whoever was away knows everything in the end.
func TestClusterDecides(t *testing.T) {
	const cluster, instances, callers = "prod / eu", 40, 3
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	configs, addrs := certificates(t, cluster, 3), map[paxos.ServerID]string{}
	m := paxos.Members{Cluster: cluster, Acceptors: []paxos.ServerID{1, 2, 3}}
	var servers []*server
	for _, id := range m.Acceptors {
		s := &server{id: id, members: m, tls: configs[id], storage: memory.NewStorage(), addrs: addrs}
		require.NoError(t, paxos.Format(s.storage, id, m))
		s.listen(t)
		servers = append(servers, s)
	}
	for _, s := range servers {
		s.run(t)
	}

	decided := decisions{}
	var all sync.WaitGroup
	half := make(chan struct{}) // closed when one caller is in the middle
	for _, s := range servers {
		for c := range callers {
			all.Go(func() {
				value := paxos.Value(fmt.Sprintf("server %d, caller %d", s.id, c))
				for i := range instances {
					if s.id == 1 && c == 0 && i == instances/2 {
						close(half)
					}
					if !s.proposesUntilDecided(t, ctx, &decided, fmt.Sprintf("job %d", i), value) {
						return
					}
				}
			})
		}
	}
	<-half
	servers[2].stop(t)
	servers[2].listen(t)
	servers[2].run(t)
	all.Wait()
	require.NoError(t, ctx.Err())
	require.Len(t, decided.values, instances)
	for _, s := range servers {
		for name, v := range decided.values {
			d, err := s.now().Wait(ctx, name)
			require.NoError(t, err)
			assert.Equal(t, v, d.Value)
		}
	}
	for _, s := range servers {
		s.refusedNothingElse(t)
		s.stop(t)
	}
}

// decisions are what callers were told. The zero decisions is ready for use, by several goroutines.
type decisions struct {
	mu     sync.Mutex
	values map[string]paxos.Value
}

// learn checks d against what others were told of its instance.
func (l *decisions) learn(t *testing.T, d paxos.Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.values[d.Instance]; ok {
		assert.Equal(t, before, d.Value, d.Instance)
	}
	if l.values == nil {
		l.values = map[string]paxos.Value{}
	}
	l.values[d.Instance] = d.Value
}

// proposesUntilDecided proposes v, again and again while server 3 is stopped. It reports whether the caller can go on: false after an
// error of another server.
func (s *server) proposesUntilDecided(t *testing.T, ctx context.Context, decided *decisions, name string, v paxos.Value) bool {
	for ctx.Err() == nil {
		d, err := s.now().Propose(ctx, name, v)
		if err == nil {
			decided.learn(t, d)
			return true
		}
		if !assert.Equal(t, paxos.ServerID(3), s.id, "only the server that is stopped fails: %v", err) {
			return false
		}
		select {
		case <-time.After(5 * time.Millisecond): // until it is up again
		case <-ctx.Done():
		}
	}
	return true
}

// refusedNothingElse holds that the Transport of s lost nothing, and refused only handshakes that the stop cut off.
func (s *server) refusedNothingElse(t *testing.T) {
	stats := s.net.Stats()
	for reason := range stats.Refused {
		assert.Contains(t, []tcp.Reason{tcp.ReasonTLS, tcp.ReasonMalformed}, reason, "but for handshakes that the stop cut off")
	}
	assert.Zero(t, stats.BadFrames+stats.DroppedOldest+stats.DroppedTooLarge+stats.DroppedUnreachable)
}
