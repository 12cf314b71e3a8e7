package tcp

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// countedConn counts the writes: each is one system call, if the kernel has room.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// A packet of any number of messages costs one write on an idle connection, under TLS too, where it is many records.
func TestOneWriteForOnePacket(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			var writes atomic.Int64
			b := start(t, config(2, 2))
			c := config(1, 2)
			c.Peers = map[paxos.ServerID]string{2: b.Addr().String()}
			a, err := listen(c, hooks{lowest: 1, highest: 1, dial: func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				return countedConn{conn, &writes}, err
			}})
			require.NoError(t, err)
			t.Cleanup(func() { a.Close() })
			arrives(t, a, b, 1)
			eventually(t, "all is written", func() bool { return a.Stats().Peers[0].Queued == 0 })
			for seq, messages := range []int{1, 64, 1000} {
				p := benchPacket(1, 2, messages)
				p.Seq = uint64(seq + 2)
				before := writes.Load()
				a.Send(p)
				for receiveSoon(t, b).Seq != p.Seq { // one that was sent again
				}
				assert.Equal(t, int64(1), writes.Load()-before, "%d messages", messages)
			}
		})
	}
}

// Packets that wait while a write runs go with the next one. Here nobody reads until all are queued.
func TestQueuedPacketsShareAWrite(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		a := n.start(t, 1, knows(2))
		defer a.Close()
		synctest.Wait()
		end := n.last()
		before := end.writes.Load()
		for seq := range uint64(1000) {
			a.Send(packetOf(1, 2, seq))
		}
		for seq := range uint64(1000) {
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			require.Equal(t, seq, p.Seq)
		}
		assert.Less(t, end.writes.Load()-before, int64(10))
	})
}

// A full queue drops the oldest packet, and counts it: a new one is worth more than a late one.
func TestFullQueueDropsTheOldest(t *testing.T) {
	p := packetOf(1, 2, 1000)
	one := len(appendPacket(nil, &p))
	for name, c := range map[string]struct {
		limits  Limits
		packets int
	}{"packets": {Limits{QueuePackets: 10}, 10}, "bytes": {Limits{MaxFrame: 4096, QueueBytes: 4096}, 4096 / one}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *pipes) {
				a := n.start(t, 1, knows(2), func(config *Config, _ *hooks) { config.Limits = c.limits })
				defer a.Close()
				synctest.Wait() // nobody is at that address yet
				for seq := range uint64(1000) {
					a.Send(packetOf(1, 2, 1000+seq))
				}
				s := a.Stats()
				require.Equal(t, c.packets, s.Peers[0].Queued)
				assert.Equal(t, uint64(1000-c.packets), s.DroppedOldest)
				b := n.start(t, 2)
				defer b.Close()
				for seq := 1000 - c.packets; seq < 1000; seq++ {
					p, err := b.Receive(context.Background())
					require.NoError(t, err)
					require.Equal(t, uint64(1000+seq), p.Seq)
				}
			})
		})
	}
}

// Each packet that can't be delivered is counted, in the place of its kind.
func TestDropsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2, func(c *Config, _ *hooks) { c.Limits.MaxFrame = 4096 })
		defer b.Close()
		a := n.start(t, 1, knows(2))
		defer a.Close()
		large := func(bytes int) paxos.Packet {
			return paxos.Packet{To: 2, Messages: []paxos.Message{{Value: paxos.Value(strings.Repeat("x", bytes))}}}
		}
		a.Send(large(4000)) // 4,000 bytes fit a frame of 4,096
		a.Send(large(4090)) // alone they would, but not with all that is around them
		a.Send(large(5000))
		a.Send(large(5 << 20))
		synctest.Wait()
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Len(t, p.Messages[0].Value, 4000)
		a.Send(large(4090)) // now it knows how much the other takes
		a.Send(large(5000))
		for _, to := range []paxos.ServerID{0, 1, 9} {
			a.Send(paxos.Packet{To: to})
		}
		a.Send(paxos.Packet{To: 3})
		a.Send(packetOf(1, 2, 7))
		p, err = b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(7), p.Seq)
		synctest.Wait()
		s := a.Stats()
		assert.Equal(t, uint64(5), s.DroppedTooLarge)
		assert.Equal(t, uint64(3), s.DroppedUnknown)
		assert.Equal(t, uint64(1), s.DroppedUnreachable)
		assert.Equal(t, uint64(2), s.Sent)
		assert.Zero(t, b.Stats().BadFrames)
		assert.Equal(t, "tcp: its address is not known: give it in Config.Peers or by SetAddr", s.Peers[1].Err)
	})
}

// A server that moves is found at its new address, and not at the old one any more.
func TestAddressesChangeAtRunTime(t *testing.T) {
	a, b := pair(t, secureConfig)
	arrives(t, a, b, 1)
	b.Close()
	moved := start(t, secureConfig(2, 2))
	require.NoError(t, a.SetAddr(2, moved.Addr().String()))
	arrives(t, a, moved, 2)
	assert.Equal(t, moved.Addr().String(), a.Stats().Peers[0].Addr)

	assert.ErrorContains(t, a.SetAddr(1, "x:1"), "server 1 is this one")
	assert.ErrorContains(t, a.SetAddr(9, "x:1"), "server 9 is not in")
}

// A dial that hangs at the old address does not keep the new one waiting.
func TestAddressChangesDuringADial(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		deaf := n.listen("three") // nobody accepts
		defer deaf.Close()
		b, book := n.start(t, 2), &logBook{}
		defer b.Close()
		a := n.start(t, 1, logsTo(book), func(c *Config, _ *hooks) { c.Peers = map[paxos.ServerID]string{2: "three:7000"} })
		defer a.Close()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, a.SetAddr(2, "two:7000"))
		a.Send(packetOf(1, 2, 1))
		_, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
		assert.NotContains(t, book.String(), "can't be reached", "nothing was wrong")
	})
}

// A peer that calls ends a dial to it that hangs.
func TestPeersCallEndsADialThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		deaf := n.listen("two") // as a machine that is down: nobody refuses, nobody accepts
		defer deaf.Close()
		a := n.start(t, 1, knows(2))
		defer a.Close()
		time.Sleep(time.Second)
		began := time.Now()
		b := n.start(t, 2, knows(1))
		defer b.Close()
		a.Send(packetOf(1, 2, 1))
		_, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
	})
}

// Certificates are renewed through the hooks of tls.Config, authorities through SetTLS; nobody restarts.
func TestCertificatesAreRotated(t *testing.T) {
	old, renewed := newAuthority(), newAuthority()
	both := old.pool.Clone()
	both.AddCert(renewed.cert)
	certs := [3]atomic.Pointer[tls.Certificate]{}
	rotating := func(id paxos.ServerID) Config {
		c := secureConfig(id, 2)
		certs[id].Store(with(old.issue("prod", id)))
		c.TLS = &tls.Config{RootCAs: both,
			GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certs[id].Load(), nil },
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certs[id].Load(), nil }}
		return c
	}
	a, b := pair(t, func(id paxos.ServerID, _ int) Config { return rotating(id) })
	arrives(t, a, b, 1)
	arrives(t, b, a, 1)
	certs[1].Store(with(renewed.issue("prod", 1)))
	certs[2].Store(with(renewed.issue("prod", 2)))
	for seq, tr := range []*Transport{a, b} {
		before := tr.Stats()
		c := tr.config.TLS.Clone()
		c.RootCAs = renewed.pool
		require.NoError(t, tr.SetTLS(c))
		arrives(t, a, b, uint64(10+seq))
		arrives(t, b, a, uint64(10+seq))
		eventually(t, "the connections are new, both ways", func() bool {
			now := tr.Stats()
			return now.Connected > before.Connected && now.Welcomed > before.Welcomed
		})
	}
	// The old authority is worth nothing any more.
	certs[1].Store(with(old.issue("prod", 1)))
	require.NoError(t, a.SetTLS(a.config.TLS))
	eventually(t, "it is refused", func() bool { return b.Stats().Refused[ReasonTLS] > 0 })
	assert.False(t, a.Stats().Peers[0].Out)

	assert.EqualError(t, a.SetTLS(nil), "tcp: set TLS: TLS: nil")
	assert.ErrorContains(t, a.SetTLS(&tls.Config{}), "tcp: set TLS: TLS.RootCAs: nil")
	assert.ErrorContains(t, start(t, plainConfig(1, 2)).SetTLS(secureConfig(1, 2).TLS), "Config.Plain")
}

// A rolling upgrade: this version and the next run together, in either direction, and both use the next once all know it.
func TestVersionsRunTogether(t *testing.T) {
	upgraded := func(_ *Config, h *hooks) { h.highest = 2 }
	later := func(_ *Config, h *hooks) { h.lowest, h.highest = 2, 2 }
	now := func(*Config, *hooks) {}
	for name, c := range map[string]struct {
		a, b func(*Config, *hooks)
		want byte // 0: they can't
	}{"both old": {now, now, 1}, "one upgraded": {now, upgraded, 1}, "the other": {upgraded, now, 1}, "both upgraded": {upgraded, upgraded, 2},
		"two versions apart": {now, later, 0}, "one version apart": {upgraded, later, 2}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *pipes) {
				a, b := n.start(t, 1, knows(2), c.a), n.start(t, 2, knows(1), c.b)
				defer b.Close()
				defer a.Close()
				time.Sleep(time.Minute)
				if c.want == 0 {
					assert.Contains(t, a.Stats().Peers[0].Err, "speaks versions 1 to 1 of the format, server 2 speaks 2 to 2")
					assert.Contains(t, b.Stats().Peers[0].Err, "speaks versions 2 to 2 of the format, server 1 speaks 1 to 1")
					return
				}
				for from, to := range map[*Transport]*Transport{a: b, b: a} {
					from.Send(packetOf(0, to.config.ID, 5))
					p, err := to.Receive(context.Background())
					require.NoError(t, err)
					assert.Equal(t, uint64(5), p.Seq)
					assert.Equal(t, c.want, to.peer(from.config.ID).slot.occupant().reader.wire.version)
				}
			})
		})
	}
}

// Parts that only a later program knows are skipped and counted: frames of another kind, and fields behind the known ones.
func TestLaterProgramsAreUnderstood(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		c := n.client(t, "two")
		frame := beginFrame(nil, kindHello)
		frame = append(frame, appendHello(nil, hello{lowest: 1, highest: 9, cluster: "prod", from: 1, to: 2, instance: 7})[headerSize:]...)
		c.send(append([]byte(magic), endHandshake(append(frame, "more fields"...), 0)...))
		require.NoError(t, c.r.magic())
		f, err := c.r.next()
		require.NoError(t, err)
		require.Equal(t, kindWelcome, f.kind)

		unknown := beginFrame(nil, 77)
		unknown = append(unknown, make([]byte, 100<<10)...)
		endFrame(unknown, 0)
		p := packetOf(1, 2, 1)
		c.send(sealed(append(unknown, appendPacket(nil, &p)...)))
		got, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(1), got.Seq)
		assert.Equal(t, uint64(1), b.Stats().UnknownKinds)
		c.conn.Close()
	})
}

// When large packets were a while ago, their buffers are given back.
func TestLargePacketsLeaveNoLargeBuffers(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		c := n.client(t, "two")
		c.welcome(helloOf(1, 2, 7))
		go func() {
			for seq := range uint64(300) {
				p := packetOf(1, 2, seq)
				if seq < 4 {
					p.Messages[0].Value = paxos.Value(make([]byte, 1<<20))
				}
				c.send(sealed(appendPacket(nil, &p)))
			}
		}()
		longest := 0
		for range 300 {
			_, err := b.Receive(context.Background())
			require.NoError(t, err)
			longest = max(longest, len(b.receipt.batches[b.receipt.next].buf))
		}
		assert.Greater(t, longest, 1<<20)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := b.Receive(ctx)
		require.Error(t, err)
		in := b.peer(1).slot.occupant()
		c.conn.Close()
		require.NoError(t, b.Close())
		assert.LessOrEqual(t, len(in.reader.buf), 64<<10)
		assert.LessOrEqual(t, len(<-in.free), 64<<10)
	})
}

// Close ends everything at once, whatever goes on: connections, dials, writes, and whoever is in Receive.
func TestCloseWhileEverythingGoesOn(t *testing.T) {
	a, b := start(t, secureConfig(1, 4)), start(t, secureConfig(2, 4))
	acquaint(t, a, b)
	require.NoError(t, a.SetAddr(3, "192.0.2.1:9")) // nobody answers there
	require.NoError(t, a.SetAddr(4, "127.0.0.1:1")) // refused there
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for seq := uint64(0); ; seq++ {
				select {
				case <-stop:
					return
				default:
					a.Send(benchPacket(1, paxos.ServerID(2+seq%3), 10))
				}
			}
		})
	}
	idle := dialBy(t, a, nil) // in its handshake
	receiveSoon(t, b)
	errs := make(chan error, 1)
	go func() {
		_, err := a.Receive(context.Background())
		errs <- err
	}()
	all.Go(func() { a.Close() })
	require.NoError(t, a.Close())
	assert.ErrorIs(t, <-errs, paxos.ErrClosed)
	close(stop)
	all.Wait()
	idle.ended()
	require.NoError(t, a.Close())
	a.Send(packetOf(1, 2, 1))
	assert.Positive(t, a.Stats().DroppedUnknown)
	_, err := net.Dial("tcp", a.Addr().String())
	assert.Error(t, err)
}
