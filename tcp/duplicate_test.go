package tcp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A second process under the identity of one that lives is refused, and both sides say so.
func TestSecondProcessIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		listener, second := &logBook{}, &logBook{}
		b := n.start(t, 2, logsTo(listener))
		defer b.Close()
		a := n.start(t, 1, knows(2))
		defer a.Close()
		synctest.Wait()
		require.True(t, b.Stats().Peers[0].In)
		copied := n.start(t, 1, knows(2), logsTo(second))
		defer copied.Close()
		time.Sleep(time.Minute)

		assert.False(t, copied.Stats().Peers[0].Out)
		assert.Contains(t, copied.Stats().Peers[0].Err, "another process is connected as server 1")
		assert.Equal(t, uint64(1), a.Stats().Connected, "the first is left alone")
		assert.Positive(t, b.Stats().Refused[ReasonDuplicate])
		listener.says(t, "level=ERROR", "handshake refused", "peer=1", "another process is connected as server 1")
		second.says(t, "level=ERROR", "it refuses this server", "another process is connected as server 1")

		copied.Send(packetOf(1, 2, 66))
		a.Send(packetOf(1, 2, 1))
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(1), p.Seq)

		// When the first is gone, the second is as good as a restarted one.
		a.Close()
		time.Sleep(2 * time.Second)
		assert.True(t, copied.Stats().Peers[0].Out)
	})
}

// A process that died without a word does not keep the next one out.
func TestRestartAfterAHalfOpenConnection(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		a := n.start(t, 1, knows(2))
		synctest.Wait()
		n.last().vanish()
		began := time.Now()
		again := n.start(t, 1, knows(2))
		defer again.Close()
		again.Send(packetOf(1, 2, 7))
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(7), p.Seq)
		assert.Equal(t, time.Second, time.Since(began), "Timing.Probe")
		a.Close()
	})
}

// Bytes that a dead process has sent are no sign that it lives: its last frames are read while another asks for its place.
func TestLastWordsAreNoSignOfLife(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		first := n.client(t, "two")
		first.welcome(helloOf(1, 2, 7))
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for seq := uint64(0); ; seq++ {
				p := packetOf(1, 2, seq)
				if _, err := first.conn.Write(sealed(appendPacket(nil, &p))); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		ctx, cancel := context.WithCancel(context.Background())
		received := make(chan struct{})
		go func() {
			defer close(received)
			for ctx.Err() == nil {
				b.Receive(ctx)
			}
		}()
		second := n.client(t, "two")
		second.welcome(helloOf(1, 2, 8))
		<-stop
		cancel()
		<-received
		second.conn.Close()
	})
}

// A process that connects anew takes its own place at once, though its old connection seems to live.
func TestSameProcessConnectsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		first := n.client(t, "two")
		first.welcome(helloOf(1, 2, 7))
		began := time.Now()
		second := n.client(t, "two")
		second.welcome(helloOf(1, 2, 7))
		assert.Zero(t, first.closedAfter())
		assert.Zero(t, time.Since(began))
		second.conn.Close()
	})
}

// While nobody calls Receive, whether a process lives can't be told: it keeps its place, and nobody says that there are two.
func TestStalledConnectionKeepsItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		book := &logBook{}
		b := n.start(t, 2, logsTo(book))
		defer b.Close()
		first := n.client(t, "two")
		first.welcome(helloOf(1, 2, 7))
		for seq := range uint64(2) {
			p := packetOf(1, 2, seq+1)
			first.send(sealed(appendPacket(nil, &p)))
			synctest.Wait()
		}
		go first.closedAfter()
		second := n.client(t, "two")
		f, err := second.hello(helloOf(1, 2, 8))
		require.NoError(t, err)
		require.Equal(t, kindRefuse, f.kind)
		r, err := parseRefuse(f.body)
		require.NoError(t, err)
		assert.Equal(t, ReasonBusy, r.reason)
		assert.Equal(t, "process 7 is connected as server 1, and this is process 8: whether the former lives is not known yet, "+
			"as server 2 is busy and reads nothing", r.words)
		second.closedAfter()
		book.says(t, "level=WARN", "handshake refused", "reason=busy")
		assert.NotContains(t, book.String(), "level=ERROR")
		for seq := range uint64(2) {
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			assert.Equal(t, seq+1, p.Seq)
		}
	})
}

// A process that has closed is not taken for one that lives, though its last bytes are not read. The next process is let in, and no
// duplicate is reported.
func TestRestartWhileNobodyReceives(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			listener, second := &logBook{}, &logBook{}
			c := config(2, 2)
			c.Logger = listener.logger()
			busy := start(t, c)
			first := start(t, config(1, 2))
			require.NoError(t, first.SetAddr(2, busy.Addr().String()))
			for seq := uint64(1); ; seq++ {
				first.Send(packetOf(1, 2, seq))
				if in := busy.peer(1).slot.occupant(); in != nil && in.stalled.Load() {
					break
				}
				<-time.After(time.Millisecond)
			}
			require.NoError(t, first.Close())
			c = config(1, 2)
			c.Logger, c.Peers = second.logger(), map[paxos.ServerID]string{2: busy.Addr().String()}
			again := start(t, c)
			eventually(t, "it is let in", func() bool { return again.Stats().Peers[0].Out })
			assert.Zero(t, busy.Stats().Refused[ReasonDuplicate])
			for _, book := range []*logBook{listener, second} {
				assert.NotContains(t, book.String(), "level=ERROR")
				assert.NotContains(t, book.String(), "another process")
			}
			arrives(t, again, busy, 1<<32)
		})
	}
}

// Whoever connects again and again, while nobody calls Receive, does not fill the memory.
func TestReconnectsDoNotFillTheInbox(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		for seq := range uint64(50) {
			c := n.client(t, "two")
			c.welcome(helloOf(1, 2, 7))
			p := packetOf(1, 2, seq+1)
			c.send(sealed(appendPacket(nil, &p)))
			synctest.Wait()
			c.conn.Close()
			synctest.Wait()
		}
		assert.Len(t, b.inbox.queue, 1)
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(50), p.Seq)
	})
}

// Whoever sends for another is not heard any more, not even with what has been read already.
func TestNothingMoreFromASpoofer(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		c := n.client(t, "two")
		c.welcome(helloOf(1, 2, 7))
		for seq, from := range []paxos.ServerID{3, 1} {
			p := packetOf(from, 2, uint64(seq))
			c.send(sealed(appendPacket(nil, &p)))
			synctest.Wait()
		}
		go c.closedAfter()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := b.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, map[Reason]uint64{ReasonSpoofed: 1}, b.Stats().Refused)
		assert.False(t, b.Stats().Peers[0].In)
	})
}
