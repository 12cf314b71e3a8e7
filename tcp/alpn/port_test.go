package alpn

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/tcp"
)

// Servers whose ports are those of sites keep every rule of a Transport.
func TestTransportSuite(t *testing.T) {
	nets := map[*testing.T]map[paxos.ServerID]*shared{}
	paxostest.TestTransport(t, func(t *testing.T, ids ...paxos.ServerID) (ends []paxos.Transport) {
		if nets[t] == nil {
			nets[t] = map[paxos.ServerID]*shared{}
		}
		for _, id := range ids {
			addr := "127.0.0.1:0"
			if old := nets[t][id]; old != nil { // it was restarted
				old.end()
				addr = old.net.Addr().String()
			}
			s := share(t, id, 4, addr)
			nets[t][id] = s
			for other, known := range nets[t] {
				if other != id {
					require.NoError(t, s.net.SetAddr(other, known.net.Addr().String()))
					known.net.SetAddr(id, s.net.Addr().String())
				}
			}
			ends = append(ends, s.net)
		}
		return ends
	})
}

// HTTP/1.1 and HTTP/2 work on the port, and so does a client that speaks no TLS, or TLS 1.2. Meanwhile servers talk.
func TestSiteGoesOn(t *testing.T) {
	a, b := share(t, 1, 2, "127.0.0.1:0"), share(t, 2, 2, "127.0.0.1:0")
	require.NoError(t, a.net.SetAddr(2, b.net.Addr().String()))
	require.NoError(t, b.net.SetAddr(1, a.net.Addr().String()))
	arrives(t, a.net, b.net, 1)
	arrives(t, b.net, a.net, 2)
	for range 3 {
		a.browses(t)
		b.browses(t)
	}
	addr := a.net.Addr().String()
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer plain.Close()
	io.WriteString(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	plain.SetDeadline(time.Now().Add(timeout))
	answer, err := http.ReadResponse(bufio.NewReader(plain), nil)
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, http.StatusBadRequest, answer.StatusCode, "the host says that it wants HTTPS")
	old, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	require.NoError(t, err)
	old.Close()
	arrives(t, a.net, b.net, 3)
	s := a.port.Stats()
	assert.GreaterOrEqual(t, s.Host, uint64(8))
	assert.NotZero(t, s.Cluster)
	assert.Zero(t, s.Pending)
	assert.Equal(t, a.port.Cluster(), a.port.Cluster())
}

// Either half ends first. The other one goes on, and the port closes with it.
func TestEndInEitherOrder(t *testing.T) {
	for name, siteFirst := range map[string]bool{"site first": true, "server first": false} {
		t.Run(name, func(t *testing.T) {
			a, b := share(t, 1, 2, "127.0.0.1:0"), share(t, 2, 2, "127.0.0.1:0")
			addr := a.net.Addr().String()
			require.NoError(t, a.net.SetAddr(2, b.net.Addr().String()))
			require.NoError(t, b.net.SetAddr(1, addr))
			arrives(t, b.net, a.net, 1)
			if siteFirst {
				require.NoError(t, a.site.Config.Shutdown(t.Context()))
				arrives(t, a.net, b.net, 2)
				require.NoError(t, a.net.SetAddr(2, "127.0.0.1:1"))
				require.NoError(t, a.net.SetAddr(2, b.net.Addr().String()))
				arrives(t, b.net, a.net, 3)
				_, err := a.fetch(t, false)
				require.Error(t, err)
				require.NoError(t, a.net.Close())
			} else {
				require.NoError(t, a.net.Close())
				a.browses(t)
				c, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				c.Write(helloOf(t, tcp.ALPN))
				gone(t, c)
				a.browses(t)
				require.NoError(t, a.site.Config.Shutdown(t.Context()))
			}
			assert.NotZero(t, a.port.Stats().Late)
			_, err := net.Dial("tcp", addr)
			require.Error(t, err, "nobody listens any more")
			require.NoError(t, a.port.Close())
			require.NoError(t, a.port.Host().Close())
		})
	}
}

// A stranger gains nothing by the name of the protocol: not without a certificate, not with other names beside, and not with a session
// of the site.
func TestStrangersAreRefused(t *testing.T) {
	a := share(t, 1, 2, "127.0.0.1:0")
	addr := a.net.Addr().String()
	// A session of the site, which needs no certificate.
	sessions := tls.NewLRUClientSessionCache(8)
	for range 2 {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: sessions, NextProtos: []string{"http/1.1"}})
		require.NoError(t, err)
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, c) // the ticket comes with the answer
		c.Close()
	}
	foreign := func(protocols ...string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: sessions, NextProtos: protocols}
	}
	for i, config := range []*tls.Config{foreign(tcp.ALPN), foreign("h2", tcp.ALPN), foreign(tcp.ALPN, "http/1.1")} {
		c, err := tls.Dial("tcp", addr, config)
		if err == nil {
			assert.False(t, c.ConnectionState().DidResume)
			assert.Equal(t, tcp.ALPN, c.ConnectionState().NegotiatedProtocol)
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		require.ErrorContains(t, err, "certificate required", i)
	}
	require.Eventually(t, func() bool { return a.net.Stats().Refused[tcp.ReasonTLS] == 3 }, timeout, time.Millisecond)
	assert.Zero(t, a.net.Stats().Welcomed)
	resumed, err := tls.Dial("tcp", addr, foreign("http/1.1"))
	require.NoError(t, err)
	assert.True(t, resumed.ConnectionState().DidResume, "the site takes its session, so the server could have been tried with it")
	resumed.Close()
	a.browses(t)
}

// A tcp.Transport with a port of its own refuses a browser, and takes a server from before ALPN.
func TestPortOfItsOwn(t *testing.T) {
	config, err := theAuthority().TLS(1)
	require.NoError(t, err)
	two, err := theAuthority().TLS(2)
	require.NoError(t, err)
	one, err := tcp.Listen(tcp.Config{ID: 1, Members: paxos.Members{Cluster: "prod", Acceptors: []paxos.ServerID{1, 2}}, Addr: "127.0.0.1:0", TLS: config})
	require.NoError(t, err)
	defer one.Close()
	dial := func(protocols ...string) error {
		c := two.Clone()
		c.InsecureSkipVerify, c.NextProtos = true, protocols
		conn, err := tls.Dial("tcp", one.Addr().String(), c)
		if err == nil {
			conn.Close()
		}
		return err
	}
	require.NoError(t, dial())
	require.NoError(t, dial(tcp.ALPN))
	require.ErrorContains(t, dial("h2", "http/1.1"), "no application protocol")
}

// split starts a Port on a listener without a network. Its Accepts go into channels.
func split(t *testing.T, c Config) (l *piped, p *Port, cluster, host chan net.Conn) {
	t.Helper()
	l = newPiped()
	p, err := Split(l, c)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	cluster, host = make(chan net.Conn, 16), make(chan net.Conn, 16)
	for half, to := range map[net.Listener]chan net.Conn{p.Cluster(): cluster, p.Host(): host} {
		go func() {
			defer close(to)
			for {
				conn, err := half.Accept()
				if err != nil {
					return
				}
				to <- conn
			}
		}()
	}
	return l, p, cluster, host
}

// A ClientHello may come byte by byte, and each half reads it as it was sent. A client that takes too long is closed, and keeps out nobody.
func TestSlowClients(t *testing.T) {
	ours, theirs := helloOf(t, "h2", tcp.ALPN), helloOf(t, "h2")
	synctest.Test(t, func(t *testing.T) {
		l, p, cluster, host := split(t, Config{})
		for want, from := range map[string]chan net.Conn{string(ours): cluster, string(theirs): host} {
			c := l.dial()
			go func() {
				for i := range len(want) {
					c.Write([]byte{want[i]})
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Minute)
				c.Write([]byte("more"))
			}()
			conn := <-from
			got := make([]byte, len(want)+4)
			_, err := io.ReadFull(conn, got)
			require.NoError(t, err, "the deadline of the Port does not stay")
			assert.Equal(t, want+"more", string(got))
			c.Close()
			conn.Close()
		}
		began := time.Now()
		silent, trickle := l.dial(), l.dial()
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := range ours {
				if _, err := trickle.Write(ours[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		_, err := silent.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		assert.Equal(t, 10*time.Second, time.Since(began).Round(time.Second))
		_, err = trickle.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		assert.Less(t, time.Since(began), 15*time.Second)
		synctest.Wait()
		s := p.Stats()
		assert.Equal(t, [4]uint64{1, 1, 2, 0}, [4]uint64{s.Cluster, s.Host, s.Slow, s.Ended})
		assert.Zero(t, s.Pending)
		silent.Close()
		trickle.Close()
		writing.Wait()
		p.Close()
	})
}

// A client that ends in the middle, at any byte, reaches nobody. Bytes that are no ClientHello are the host's, whatever they are.
func TestBrokenHellos(t *testing.T) {
	hello := helloOf(t, tcp.ALPN)
	synctest.Test(t, func(t *testing.T) {
		l, p, cluster, host := split(t, Config{})
		for n := 0; n < len(hello); n += 7 {
			c := l.dial()
			c.Write(hello[:n])
			c.Close()
		}
		synctest.Wait()
		s := p.Stats()
		assert.EqualValues(t, (len(hello)+6)/7, s.Ended)
		assert.Zero(t, s.Cluster+s.Host)
		for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "paxos\r\n\x00", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1000),
			"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", strings.Repeat("\x17\x03\x03\x00\x01x", 40), "\x16\x03\x01\x00\x04\x01\xff\xff\xff" + "\x16\x03"} {
			c := l.dial()
			go c.Write([]byte(garbage))
			conn := <-host
			got := make([]byte, len(garbage))
			_, err := io.ReadFull(conn, got)
			require.NoError(t, err)
			assert.Equal(t, garbage, string(got))
			conn.Close()
			c.Close()
		}
		// A handshake message of many records that never ends is cut at maxHello.
		c := l.dial()
		go func() {
			c.Write([]byte("\x16\x03\x01\x00\x04\x01\x00\xff\xff"))
			for record := []byte("\x16\x03\x01\x00\x01x"); ; {
				if _, err := c.Write(record); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		assert.EqualValues(t, (len(hello)+6)/7+1, p.Stats().Ended)
		c.Close()
		p.Close()
		_, open := <-cluster
		assert.False(t, open)
	})
}

// More silent clients than may wait close the oldest. A host that does not Accept holds up no server.
func TestPendingIsBounded(t *testing.T) {
	hello, other := helloOf(t, tcp.ALPN), helloOf(t, "h2")
	synctest.Test(t, func(t *testing.T) {
		l := newPiped()
		p, err := Split(l, Config{Pending: 3})
		require.NoError(t, err)
		defer p.Close()
		var silent []net.Conn
		for range 5 {
			silent = append(silent, l.dial())
			synctest.Wait()
		}
		for i, c := range silent {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			assert.Equal(t, i >= 2, isTimeout(err), "%d: %v", i, err)
			defer c.Close()
		}
		assert.Equal(t, Stats{Crowded: 2, Pending: 3}, p.Stats())
		for range 20 { // nobody calls Accept of the host
			c := l.dial()
			defer c.Close()
			c.Write(other)
			synctest.Wait()
		}
		assert.Equal(t, Stats{Crowded: 22, Pending: 3}, p.Stats())
		for range 5 {
			c := l.dial()
			defer c.Close()
			c.Write(hello)
			conn, err := p.Cluster().Accept()
			require.NoError(t, err)
			conn.Close()
		}
		for range 2 { // the newest still wait, and those that were closed are not returned
			conn, err := p.Host().Accept()
			require.NoError(t, err)
			_, err = io.ReadFull(conn, make([]byte, len(other)))
			require.NoError(t, err)
			conn.Close()
		}
		assert.Zero(t, p.Stats().Pending)
	})
}

// Accept goes on after errors, and the log says so once in a while.
func TestAcceptGoesOn(t *testing.T) {
	hello := helloOf(t, tcp.ALPN)
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l, p, cluster, _ := split(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 8 {
			l.conns <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		c := l.dial()
		defer c.Close()
		c.Write(hello)
		(<-cluster).Close()
		assert.EqualValues(t, 8, p.Stats().AcceptErrors)
		p.Close()
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "connections can't be accepted, will try again"), log.String())
	})
}

// If the listener is closed by others, both halves say so. After Close nothing is left open.
func TestEnds(t *testing.T) {
	hello := helloOf(t, "h2")
	synctest.Test(t, func(t *testing.T) {
		l := newPiped()
		p, err := Split(l, Config{})
		require.NoError(t, err)
		waits := l.dial()
		waits.Write(hello)
		silent := l.dial()
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Pending)
		l.Close()
		for _, half := range []net.Listener{p.Cluster(), p.Host()} {
			_, err := half.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
			assert.ErrorContains(t, err, "the listener was closed, but not by Port.Close")
		}
		gone(t, waits)
		gone(t, silent)
		assert.Zero(t, p.Stats().Pending)
		require.NoError(t, p.Close())
	})
	for want, c := range map[string]Config{
		"alpn: split: Config.Pending: -1: want 1 to 65536":   {Pending: -1},
		"alpn: split: Config.Hello: 1ns: want 1ms to 1h0m0s": {Hello: 1},
	} {
		_, err := Split(newPiped(), c)
		assert.ErrorContains(t, err, want)
	}
	_, err := Split(nil, Config{})
	assert.EqualError(t, err, "alpn: split: the listener is nil")
	assert.ErrorIs(t, (&replayed{Conn: &net.IPConn{}}).CloseWrite(), errors.ErrUnsupported)
}
