package tcp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// timeout is how long a test waits for what has to happen.
const timeout = 20 * time.Second

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newAuthority() *authority { return newAuthorityNamed("authority", nil) }

// newAuthorityNamed makes one that above has signed, as an intermediate one; nil: it has signed itself.
func newAuthorityNamed(name string, above *authority) *authority {
	a := &authority{key: newKey(), pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	if above == nil {
		above = a
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, above.cert, a.key.Public(), above.key)
	if err != nil {
		panic(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue returns a certificate of a server, changed as asked.
func (a *authority) issue(cluster string, id paxos.ServerID, changes ...func(*x509.Certificate)) tls.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, URIs: []*url.URL{Identity(cluster, id)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, change := range changes {
		change(c)
	}
	key := newKey()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// config returns what a server uses whose certificate this is.
func (a *authority) config(c tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{c}}
}

// theAuthority signs for all tests that need no other.
var theAuthority = sync.OnceValue(newAuthority)

// members are the acceptors 1 to n of the cluster "prod".
func members(n int) paxos.Members {
	m := paxos.Members{Cluster: "prod"}
	for id := range n {
		m.Acceptors = append(m.Acceptors, paxos.ServerID(id+1))
	}
	return m
}

// secureConfig is of a server of members(n), with a certificate of theAuthority.
func secureConfig(id paxos.ServerID, n int) Config {
	return Config{ID: id, Members: members(n), Addr: "127.0.0.1:0", TLS: theAuthority().config(theAuthority().issue("prod", id))}
}

func plainConfig(id paxos.ServerID, n int) Config {
	return Config{ID: id, Members: members(n), Addr: "127.0.0.1:0", Plain: true}
}

// start listens, and closes when the test ends.
func start(t testing.TB, c Config) *Transport {
	t.Helper()
	tr, err := Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// pair starts servers 1 and 2, which know each other.
func pair(t testing.TB, config func(paxos.ServerID, int) Config) (a, b *Transport) {
	t.Helper()
	a, b = start(t, config(1, 2)), start(t, config(2, 2))
	acquaint(t, a, b)
	return a, b
}

// acquaint tells each where the others are.
func acquaint(t testing.TB, all ...*Transport) {
	t.Helper()
	for _, a := range all {
		for _, b := range all {
			if a != b {
				require.NoError(t, a.SetAddr(b.config.ID, b.Addr().String()))
			}
		}
	}
}

func packetOf(from, to paxos.ServerID, seq uint64) paxos.Packet {
	return paxos.Packet{From: from, To: to, Store: 1, Boot: 1, Nonce: 1, Members: 1, Seq: seq,
		Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: from}, Value: "burger"}}}
}

// receiveSoon receives within the timeout.
func receiveSoon(t testing.TB, tr *Transport) paxos.Packet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	p, err := tr.Receive(ctx)
	require.NoError(t, err)
	return p
}

// arrives sends a packet until it arrives.
func arrives(t testing.TB, from, to *Transport, seq uint64) {
	t.Helper()
	end := time.Now().Add(timeout)
	for time.Now().Before(end) {
		from.Send(packetOf(from.config.ID, to.config.ID, seq))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		for {
			p, err := to.Receive(ctx)
			if err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				break
			}
			if p.From == from.config.ID && p.Seq == seq {
				cancel()
				return
			}
		}
		cancel()
	}
	require.Fail(t, "it does not arrive", "%v\n%+v\n%+v", seq, from.Stats(), to.Stats())
}

// nothing checks that nothing has arrived at tr, but for what is harmless: packets that arrives sent again.
func nothing(t testing.TB, tr *Transport, harmless ...func(paxos.Packet) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	for {
		p, err := tr.Receive(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return
		}
		require.True(t, slices.ContainsFunc(harmless, func(f func(paxos.Packet) bool) bool { return f(p) }), "%+v", p)
	}
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, timeout, 2*time.Millisecond, what)
}

// A logBook keeps what was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// says waits until a line has all these words.
func (l *logBook) says(t testing.TB, words ...string) {
	t.Helper()
	found := func() bool {
		for line := range strings.Lines(l.String()) {
			line = strings.ReplaceAll(line, `\`, "")
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	}
	if !waitFor(found) {
		require.Fail(t, "the log does not say it", "%q\n%s", words, l)
	}
}

func waitFor(f func() bool) bool {
	end := time.Now().Add(timeout)
	for !f() {
		if time.Now().After(end) {
			return false
		}
		<-time.After(2 * time.Millisecond)
	}
	return true
}

// A client is a connection that a test speaks on by hand, as a dialer does.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *reader
}

// dialBy connects to tr; c nil is plain TCP.
func dialBy(t testing.TB, tr *Transport, c *tls.Config) *client {
	t.Helper()
	raw, err := net.Dial("tcp", tr.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	conn := raw
	if c != nil {
		conn = tls.Client(raw, c)
	}
	raw.SetDeadline(time.Now().Add(timeout))
	return &client{t, conn, &reader{wire: &wire{raw: raw, conn: conn, dead: make(chan struct{})}, maxBody: 1 << 20}}
}

// send writes; that the other side has closed already is no failure.
func (c *client) send(b []byte) { c.conn.Write(b) }

// hello introduces itself as from, and returns the answer.
func (c *client) hello(h hello) (frame, error) {
	c.send(appendHello([]byte(magic), h))
	if err := c.r.magic(); err != nil {
		return frame{}, err
	}
	return c.r.next()
}

// welcome introduces itself, and has to be welcome.
func (c *client) welcome(h hello) hello {
	c.t.Helper()
	f, err := c.hello(h)
	require.NoError(c.t, err)
	require.Equal(c.t, kindWelcome, f.kind, "%q", f.body)
	back, err := parseWelcome(f.body)
	require.NoError(c.t, err)
	return back
}

// ended waits until the other side closes.
func (c *client) ended() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.conn)
	var late net.Error
	if errors.As(err, &late) {
		require.False(c.t, late.Timeout(), "the connection was not closed")
	}
}

func helloOf(from, to paxos.ServerID, instance uint64) hello {
	return hello{lowest: 1, highest: 1, cluster: "prod", from: from, to: to, instance: instance}
}

// sealed returns frames in version 1 as they are written.
func sealed(frames []byte) []byte {
	seal(frames, 1)
	return frames
}
