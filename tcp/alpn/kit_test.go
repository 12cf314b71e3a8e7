package alpn

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout is how long a test waits for what has to happen.
const timeout = 20 * time.Second

// theAuthority signs for all servers.
var theAuthority = sync.OnceValue(func() *certs.Authority {
	a, err := certs.NewAuthority("prod", 0)
	if err != nil {
		panic(err)
	}
	return a
})

// A shared is a server and a site for browsers, on one port.
type shared struct {
	port *Port
	net  *tcp.Transport
	site *httptest.Server
}

// share starts both at an address, for a server of n. They end when the test does, if not before.
func share(t *testing.T, id paxos.ServerID, n int, addr string) *shared {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	port, err := Split(l, Config{})
	require.NoError(t, err)
	s := &shared{port: port}
	config, err := theAuthority().TLS(id)
	require.NoError(t, err)
	members := paxos.Members{Cluster: "prod"}
	for other := range n {
		members.Acceptors = append(members.Acceptors, paxos.ServerID(other+1))
	}
	s.net, err = tcp.Listen(tcp.Config{ID: id, Members: members, Listener: port.Cluster(), TLS: config})
	require.NoError(t, err)
	s.site = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.site.Listener.Close()
	s.site.Listener, s.site.EnableHTTP2 = port.Host(), true
	s.site.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.site.StartTLS()
	t.Cleanup(s.end)
	return s
}

func (s *shared) end() {
	s.net.Close()
	s.site.Close()
	s.port.Close()
}

// fetch gets a page over HTTP/1.1 or HTTP/2, on a new connection, and returns the protocol that the site saw.
func (s *shared) fetch(t *testing.T, two bool) (proto string, err error) {
	t.Helper()
	transport := s.site.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = two
	if !two {
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.port.Host().Addr().String(), nil)
	require.NoError(t, err)
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

// browses checks that both versions of HTTP work.
func (s *shared) browses(t *testing.T) {
	t.Helper()
	for want, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		proto, err := s.fetch(t, two)
		require.NoError(t, err)
		require.Equal(t, want, proto)
	}
}

// arrives sends a packet until it arrives.
func arrives(t *testing.T, from, to *tcp.Transport, seq uint64) {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		from.Send(paxos.Packet{To: to.ID(), Seq: seq})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		p, err := to.Receive(ctx)
		cancel()
		if err == nil && p.From == from.ID() && p.Seq == seq {
			return
		}
	}
	require.Fail(t, "it does not arrive", "%+v\n%+v", from.Stats(), to.Stats())
}

// A piped is a listener without a network: tests with a clock of their own dial it.
type piped struct {
	conns  chan any // a net.Conn, or an error of Accept
	closed chan struct{}
	once   sync.Once
}

func newPiped() *piped { return &piped{conns: make(chan any, 16), closed: make(chan struct{})} }

func (p *piped) Accept() (net.Conn, error) {
	select {
	case <-p.closed:
		return nil, net.ErrClosed
	case one := <-p.conns:
		if err, ok := one.(error); ok {
			return nil, err
		}
		return one.(net.Conn), nil
	}
}

func (p *piped) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *piped) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *piped) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// helloOf returns the ClientHello of a client that offers these protocols.
func helloOf(t testing.TB, protocols ...string) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		tls.Client(there, &tls.Config{ServerName: "host.example", NextProtos: protocols}).Handshake()
		there.Close()
	}()
	defer here.Close()
	b := make([]byte, maxHello)
	n, err := here.Read(b) // a pipe keeps writes apart
	require.NoError(t, err)
	return b[:n]
}

// gone waits until the other side closes.
func gone(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(timeout))
	_, err := io.Copy(io.Discard, c)
	require.False(t, err != nil && isTimeout(err), "the connection was not closed")
	c.Close()
}
