package tcp

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

// A newcomer that dials before it is a member is refused, and both sides say so. After Reach it is a peer like the others.
func TestNewcomerIsRefusedUntilReach(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			here, there := &logBook{}, &logBook{}
			c := config(1, 2)
			c.Logger = here.logger()
			a, b := start(t, c), start(t, config(2, 2))
			acquaint(t, a, b)
			c = config(3, 3)
			c.Logger, c.Peers = there.logger(), map[paxos.ServerID]string{1: a.Addr().String()}
			newcomer := start(t, c)
			const words = "server 3 is not one of the other members that server 1 knows: [2]. A new server must become a member first"
			here.says(t, "handshake refused", "reason=stranger", words)
			there.says(t, "peer can't be reached", "it refuses this server", words)
			a.Send(packetOf(1, 3, 1))
			assert.Equal(t, uint64(1), a.Stats().DroppedUnknown)
			require.ErrorContains(t, a.SetAddr(3, newcomer.Addr().String()), "server 3 is not in Config.Members, nor a member by Transport.Reach")

			a.Reach(3, newcomer.Addr().String())
			arrives(t, a, newcomer, 1)
			arrives(t, newcomer, a, 1)
			arrives(t, a, b, 1)
			s := a.Stats()
			require.Len(t, s.Peers, 2)
			assert.Equal(t, Peer{ID: 3, Addr: newcomer.Addr().String(), Out: true, In: true, Expires: newcomer.Stats().Expires}, s.Peers[1])
			here.says(t, "peer is a member now", "peer=3", "addr="+newcomer.Addr().String())
			require.NoError(t, a.SetAddr(3, newcomer.Addr().String()), "it is a member now")
		})
	}
}

// To be reached is not enough under TLS: the certificate must be of that server, on both sides.
func TestReachDoesNotReplaceIdentity(t *testing.T) {
	a := start(t, secureConfig(1, 2))
	c := secureConfig(3, 3)
	c.TLS = theAuthority().config(theAuthority().issue("prod", 2))
	c.Peers = map[paxos.ServerID]string{1: a.Addr().String()}
	impostor := start(t, c)
	a.Reach(3, impostor.Addr().String())
	eventually(t, "it is refused", func() bool { return a.Stats().Refused[ReasonIdentity] > 0 && a.Stats().Peers[1].Err != "" })
	assert.Contains(t, a.Stats().Peers[1].Err, `the certificate names "paxos:prod/2"`)
	assert.False(t, a.Stats().Peers[1].Out || a.Stats().Peers[1].In)
}

// At another address a server gets what waited for it, without a pause. The same address again changes nothing.
func TestReachAnotherAddress(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a := n.start(t, 1)
		defer a.Close()
		b := n.start(t, 2)
		defer b.Close()
		a.Reach(2, "nobody:7000")
		synctest.Wait()
		for seq := range uint64(5) {
			a.Send(packetOf(1, 2, seq))
		}
		began := time.Now()
		a.Reach(2, "two:7000")
		for seq := range uint64(5) {
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			assert.Equal(t, seq, p.Seq)
		}
		assert.Zero(t, time.Since(began))

		old := n.last()
		a.Reach(2, "two:7000")
		synctest.Wait()
		assert.Same(t, old, n.last(), "the connection stays")
		moved := n.listen("elsewhere")
		a.Reach(2, "elsewhere:7000")
		conn, err := moved.Accept()
		require.NoError(t, err)
		synctest.Wait()
		assert.False(t, b.Stats().Peers[0].In, "the old connection is closed")
		assert.NotSame(t, old, n.last())
		assert.Equal(t, "elsewhere:7000", a.Stats().Peers[0].Addr)
		a.Close()
		conn.Close()
	})
}

// Nothing comes from a server that is no member any more, not even what was read before. It is refused, with words.
func TestNothingMoreFromAServerThatLeft(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		here, there := &logBook{}, &logBook{}
		a := n.start(t, 1, knows(2), logsTo(there))
		defer a.Close()
		for seq := range uint64(10) { // they will leave, and be read, at once
			a.Send(packetOf(1, 2, seq))
		}
		b := n.start(t, 2, knows(1), logsTo(here))
		defer b.Close()
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		require.Zero(t, p.Seq)
		require.Less(t, b.receipt.batches[0].start, b.receipt.batches[0].end, "the others are read")

		b.Reach(1, "")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err = b.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s := b.Stats()
		require.Len(t, s.Peers, 1)
		assert.Equal(t, paxos.ServerID(3), s.Peers[0].ID)
		assert.Positive(t, s.Refused[ReasonStranger])
		here.says(t, "level=INFO", "peer is no member any more", "peer=1")
		here.says(t, "level=DEBUG", "peer's connection ended", "peer=1")
		there.says(t, "peer can't be reached", "server 1 is not one of the other members that server 2 knows: [3]")
		assert.NotContains(t, there.String(), "level=ERROR")

		b.Reach(1, "one:7000")
		a.Send(packetOf(1, 2, 77))
		for p.Seq != 77 { // packets that waited for server 2 come first
			p, err = b.Receive(context.Background())
			require.NoError(t, err)
		}
		b.Send(packetOf(2, 1, 78))
		p, err = a.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(78), p.Seq)
	})
}

// A process that is in the midst of its handshake when its server leaves does not get in.
func TestLeavesDuringItsHandshake(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		first := n.client(t, "two") // it does not answer pings
		first.welcome(helloOf(1, 2, 7))
		go first.closedAfter()
		go func() {
			time.Sleep(time.Second / 2)
			b.Reach(1, "")
		}()
		second := n.client(t, "two") // it waits for the first
		f, err := second.hello(helloOf(1, 2, 8))
		require.NoError(t, err)
		require.Equal(t, kindRefuse, f.kind)
		r, err := parseRefuse(f.body)
		require.NoError(t, err)
		assert.Equal(t, &refusal{ReasonStranger, "server 1 is no member any more"}, r)
		second.closedAfter()
	})
}

// A dial to a server that leaves ends, and so does a connection. Nothing is wrong then.
func TestLeavesWhileItIsDialed(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		deaf := n.listen("three") // nobody accepts
		defer deaf.Close()
		b, book, dials := n.start(t, 2), &logBook{}, atomic.Int64{}
		defer b.Close()
		a := n.start(t, 1, logsTo(book), func(_ *Config, h *hooks) {
			h.dial = func(ctx context.Context, addr string) (net.Conn, error) {
				dials.Add(1)
				defer dials.Add(-1)
				return n.dial(ctx, addr)
			}
		})
		a.Reach(2, "two:7000")
		a.Reach(3, "three:7000")
		synctest.Wait()
		require.Equal(t, int64(1), dials.Load())
		require.True(t, b.Stats().Peers[0].In)
		a.Reach(2, "")
		a.Reach(3, "")
		synctest.Wait()
		assert.Zero(t, dials.Load())
		assert.False(t, b.Stats().Peers[0].In)
		a.Close()
		book.says(t, "level=INFO", "connection to peer closed", "peer=2", "the server is no member any more")
		assert.NotContains(t, book.String(), "connection to peer lost")
		assert.NotContains(t, book.String(), "can't be reached")
	})
}

// A server that leaves leaves no goroutine behind, connected or not, and no count falls.
func TestLeavesNoGoroutineBehind(t *testing.T) {
	c := secureConfig(1, 3)
	c.Limits.QueuePackets = 10
	a, b := start(t, c), start(t, secureConfig(4, 4))
	b.Reach(1, "")
	before := goleak.IgnoreCurrent()
	for life := range 3 {
		b.Reach(1, a.Addr().String())
		a.Reach(4, b.Addr().String())
		arrives(t, a, b, uint64(life+1))
		arrives(t, b, a, uint64(life+1))
		a.Reach(5, "127.0.0.1:1")
		a.Reach(6, "192.0.2.1:9")
		for seq := range uint64(15) {
			a.Send(packetOf(1, 5, seq))
		}
		eventually(t, "all is written", func() bool { return a.Stats().Peers[2].Queued == 0 })
		s := a.Stats()
		assert.Len(t, s.Peers, 5)
		assert.Equal(t, 10, s.Peers[3].Queued)
		assert.Equal(t, uint64(5*(life+1)), s.DroppedOldest)
		for _, id := range []paxos.ServerID{4, 5, 6, 6, 7} {
			a.Reach(id, "")
		}
		b.Reach(1, "")
		s = a.Stats()
		assert.Len(t, s.Peers, 2)
		assert.Equal(t, uint64(5*(life+1)), s.DroppedOldest)
		assert.Equal(t, uint64(11*life+10), s.DroppedUnknown, "what waited")
		a.Send(packetOf(1, 4, 1))
		assert.Equal(t, uint64(11*life+11), a.Stats().DroppedUnknown)
		require.NoError(t, goleak.Find(before))
	}
	a.report.mu.Lock()
	defer a.report.mu.Unlock()
	for about := range a.report.said {
		assert.NotContains(t, []paxos.ServerID{4, 5, 6}, about.peer, "what was said of a server that left is forgotten")
	}
}

// A connection may end at the same time as its server leaves. A line about that is not kept, since nobody would forget it.
func TestNothingIsSaidOfAServerThatJustLeft(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a := n.start(t, 1)
		defer a.Close()
		for _, id := range []paxos.ServerID{2, 3} {
			a.report.refused(about{id, "ended", ReasonSlow}, "peer's connection ended")
		}
		a.Reach(3, "")
		a.report.refused(about{3, "ended", ReasonSlow}, "peer's connection ended")
		a.report.refused(about{what: "accept"}, "connections can't be accepted")
		synctest.Wait()
		assert.Equal(t, []about{{what: "accept"}, {2, "ended", ReasonSlow}}, slices.SortedFunc(maps.Keys(a.report.said),
			func(a, b about) int { return int(a.peer) - int(b.peer) }))
	})
}

// A Send that has looked up a server just before it leaves fills no queue.
func TestSendToAServerThatJustLeft(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a := n.start(t, 1)
		defer a.Close()
		a.Reach(2, "nobody:7000")
		s := a.peer(2).sender
		a.Reach(2, "")
		p := packetOf(1, 2, 1)
		assert.False(t, s.queue.push(&p))
		assert.Zero(t, s.queue.waiting())
		assert.Equal(t, uint64(1), a.Stats().DroppedUnknown)
	})
}

// A text that is no address is told like an address where nobody answers, and is never dialed. The next Reach mends it.
func TestReachBadAddresses(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		book := &logBook{}
		a, b := n.start(t, 1, logsTo(book)), n.start(t, 2)
		defer b.Close()
		defer a.Close()
		seq := uint64(0)
		for addr, says := range badAddrs {
			if addr == "" || strings.Contains(says, "service") {
				continue
			}
			dials := len(n.dials())
			a.Reach(2, addr)
			time.Sleep(time.Minute)
			s := a.Stats()
			assert.Contains(t, s.Peers[0].Err, says, "%q", addr)
			assert.False(t, s.Peers[0].Out)
			assert.Equal(t, dials, len(n.dials()), "%q", addr)
			seq++
			a.Send(packetOf(1, 2, seq))
			a.Reach(2, "two:7000")
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			assert.Equal(t, seq, p.Seq)
		}
		assert.Greater(t, a.Stats().DialsFailed, uint64(60*seq/2))
		book.says(t, "level=WARN", "peer can't be reached", "peer=2", `want "host:port"`)
	})
	a := start(t, plainConfig(1, 2))
	long := strings.Repeat("7", 1<<16)
	a.Reach(2, long)
	eventually(t, "it is told", func() bool { return a.Stats().Peers[0].Err != "" })
	assert.Equal(t, long[:512]+"…", a.Stats().Peers[0].Addr)
	assert.Less(t, len(a.Stats().Peers[0].Err), 1024)
	a.Reach(2, "127.0.0.1:nosuchservice")
	eventually(t, "the dialer finds it out", func() bool { return strings.Contains(a.Stats().Peers[0].Err, "nosuchservice") })
}

// There is a bound of members, and whoever leaves makes room.
func TestReachIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		book := &logBook{}
		a, b := n.start(t, 1, logsTo(book)), n.start(t, 2, knows(1))
		defer b.Close()
		defer a.Close()
		a.Reach(2, "")
		for id := range paxos.ServerID(maxPeers) {
			a.Reach(1000+id, fmt.Sprintf("nobody:%d", 1000+id))
		}
		assert.Len(t, a.Stats().Peers, maxPeers, "with server 3, that is one more")
		book.says(t, "level=WARN", "peer is not reached: there are too many", "peer=3175", "2176 other members are known: that is the limit")
		a.Send(packetOf(1, 3175, 1))
		assert.Equal(t, uint64(1), a.Stats().DroppedUnknown)
		time.Sleep(2 * time.Second) // until it dials again
		assert.Contains(t, b.Stats().Peers[0].Err, `server 2 is not one of the other members that server 1 knows: `+
			`[3 1000 1001 1002 1003 1004 1005 1006 1007 1008 1009 1010 1011 1012 1013 1014] and 2160 more`)

		a.Reach(3, "")
		a.Reach(2, "two:7000")
		a.Send(packetOf(1, 2, 1))
		_, err := b.Receive(context.Background())
		require.NoError(t, err)
	})
	c := plainConfig(1, maxPeers+1)
	_, err := Listen(c)
	assert.EqualError(t, err, "tcp: listen: Config.Members: 2177 servers: want at most 2176")
}

// A connection of Config.Listener that hangs in its Close holds up the Reach that ends it, and no other.
func TestReachAlthoughTheUsersCodeHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	never := make(chan struct{})
	release := sync.OnceFunc(func() { close(never) })
	defer release()
	c := plainConfig(1, 2)
	c.Addr, c.Listener = "", hangingListener{l, never}
	a := start(t, c)
	c = plainConfig(2, 2)
	c.Peers = map[paxos.ServerID]string{1: l.Addr().String()}
	start(t, c)
	eventually(t, "it is connected", func() bool { return a.Stats().Peers[0].In })
	ended := a.peer(2).slot.occupant().reader.wire.dead
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Reach(2, "")
	}()
	<-ended
	a.Reach(3, "127.0.0.1:1")
	a.Reach(3, "")
	assert.Empty(t, a.Stats().Peers)
	select {
	case <-done:
		assert.Fail(t, "nothing has hung")
	default:
	}
	release()
	<-done
}

// A hangingListener is one whose connections hang in Close until never is closed.
type hangingListener struct {
	net.Listener
	never chan struct{}
}

type hangingConn struct {
	net.Conn
	never chan struct{}
}

func (l hangingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hangingConn{conn, l.never}, nil
}

func (c hangingConn) Close() error {
	<-c.never
	return c.Conn.Close()
}

// Reach of no server, of this one, and after Close does nothing.
func TestReachOfNobody(t *testing.T) {
	a := start(t, plainConfig(1, 1))
	a.Reach(0, "127.0.0.1:1")
	a.Reach(1, "127.0.0.1:1")
	a.Reach(9, "")
	assert.Empty(t, a.Stats().Peers)
	a.Reach(2, "127.0.0.1:1")
	require.NoError(t, a.Close())
	a.Reach(2, "")
	a.Reach(3, "127.0.0.1:1")
	require.Len(t, a.Stats().Peers, 1)
	assert.Equal(t, paxos.ServerID(2), a.Stats().Peers[0].ID)
}
