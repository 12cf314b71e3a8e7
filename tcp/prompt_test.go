//go:build unix

package tcp

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// connected waits until a may write to the other, and nobody does.
func connected(t *testing.T, a *Transport, other paxos.ServerID) {
	t.Helper()
	s := a.peer(other).sender
	eventually(t, "it is connected", func() bool {
		s.turn.Lock()
		defer s.turn.Unlock()
		return s.out != nil && len(s.wake) == 0 && s.out.beginNow() && func() bool { _, err := s.out.endNow(nil); return err == nil }()
	})
}

// A short packet has left when Send returns: no other goroutine had to run first.
func TestSendWritesWhatIsShort(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, config)
			arrives(t, a, b, 1)
			connected(t, a, 2)
			for seq := range uint64(100) {
				before := a.Stats()
				a.Send(packetOf(1, 2, seq+2))
				after := a.Stats()
				require.Equal(t, before.Writes+1, after.Writes)
				require.Equal(t, before.Sent+1, after.Sent)
				for receiveSoon(t, b).Seq != seq+2 { // the one that arrived first may have been sent again
				}
			}
		})
	}
}

// The other side stops reading for a while, and the kernel has no more room, in the middle of a frame. Then nothing is lost of the frames
// that Sends wrote themselves, and their order does not change.
func TestSendToWhoReadsLater(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, config)
			arrives(t, a, b, 1)
			connected(t, a, 2)
			before := a.Stats()
			p := benchPacket(1, 2, 300) // 30 KB
			const most = 10_000
			packets := uint64(0)
			for ; packets < 1000 || packets < most && a.Stats().DroppedOldest == before.DroppedOldest; packets++ {
				p.Seq = packets + 2
				a.Send(p)
			}
			got, last := uint64(0), uint64(1)
			for last < packets+1 {
				q := receiveSoon(t, b)
				if q.Seq == 1 {
					continue
				}
				require.Greater(t, q.Seq, last, "in the order of their Sends, as nobody else sends")
				require.Equal(t, p.Messages, q.Messages)
				got, last = got+1, q.Seq
			}
			after := a.Stats()
			assert.Equal(t, packets, got+after.DroppedOldest-before.DroppedOldest)
			assert.NotEqual(t, before.DroppedOldest, after.DroppedOldest, "it was so much that it had to wait")
			assert.Zero(t, after.Lost+b.Stats().BadFrames)
		})
	}
}

// A frame that a Send has left unfinished goes on its way though no other Send, and no ping, comes after it.
func TestWhatASendHasLeftLeaves(t *testing.T) {
	rare := func(id paxos.ServerID, n int) Config {
		c := plainConfig(id, n)
		c.Timing = Timing{KeepAlive: 20 * time.Minute, Idle: time.Hour}
		return c
	}
	a, b := pair(t, rare)
	arrives(t, a, b, 1)
	connected(t, a, 2)
	p := benchPacket(1, 2, 300)
	s := a.peer(2).sender
	for left := false; !left; {
		p.Seq++
		a.Send(p)
		if s.turn.TryLock() {
			left = s.left
			s.turn.Unlock()
		} else {
			left = true // and the sender's goroutine is at it
		}
	}
	for receiveSoon(t, b).Seq != p.Seq {
	}
	assert.Zero(t, a.Stats().DroppedOldest)
}

// A frame that is unfinished when its connection ends counts as sent and lost.
func TestWhatASendHasLeftIsLost(t *testing.T) {
	a, b := pair(t, plainConfig)
	arrives(t, a, b, 1)
	connected(t, a, 2)
	s := a.peer(2).sender
	s.wake <- struct{}{} // the goroutine looks once more, and finds nothing
	connected(t, a, 2)
	w := s.out
	left := false
	for !left {
		require.True(t, w.beginNow())
		frames := appendPacket(nil, sized(1, 10_000))
		seal(frames, w.version)
		var err error
		left, err = w.endNow(frames)
		require.NoError(t, err)
	}
	s.turn.Lock()
	s.left = true
	s.turn.Unlock()
	before := a.Stats().Lost
	w.fail(errMoved)
	eventually(t, "it is counted", func() bool { return a.Stats().Lost > before })
}

// Close does not wait for a server that does not read.
func TestCloseDuringAWrite(t *testing.T) {
	slow := func(id paxos.ServerID, n int) Config {
		c := plainConfig(id, n)
		c.Timing = Timing{Write: time.Hour, KeepAlive: 20 * time.Minute, Idle: time.Hour}
		return c
	}
	a, b := pair(t, slow)
	arrives(t, a, b, 1)
	connected(t, a, 2)
	for seq := range uint64(16) {
		a.Send(*sized(seq, 1<<20))
	}
	eventually(t, "it is being written", func() bool {
		if a.peer(2).sender.turn.TryLock() {
			a.peer(2).sender.turn.Unlock()
			return false
		}
		return a.Stats().Writes > 0
	})
	require.NoError(t, a.Close())
}

// The same, where it is seen that a write has left something.
func TestWireKeepsWhatIsLeft(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			raw, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			other, err := l.Accept()
			require.NoError(t, err)
			defer other.Close()
			w := newWire(raw, timeout)
			defer w.fail(errClosed)
			var from io.Reader = other
			if secure {
				server := tls.Server(other, serverTLS(theAuthority().config(theAuthority().issue("prod", 2))))
				shaken := make(chan error, 1)
				go func() { shaken <- server.Handshake() }()
				config, _ := clientTLS(theAuthority().config(theAuthority().issue("prod", 1)), "prod", 2)
				client := w.secure(tls.Client, config)
				require.NoError(t, client.Handshake())
				require.NoError(t, <-shaken)
				from = server
			}
			var wrote bytes.Buffer
			left := false
			for i := 0; !left; i++ {
				b := bytes.Repeat([]byte{byte(i)}, 50_001)
				require.True(t, w.beginNow())
				left, err = w.endNow(b)
				require.NoError(t, err)
				wrote.Write(b)
				require.Less(t, wrote.Len(), 1<<30, "the kernel keeps it all")
			}
			assert.False(t, w.beginNow(), "what is left goes first")
			read, b := make(chan []byte), make([]byte, wrote.Len()+4)
			go func() {
				io.ReadFull(from, b)
				read <- b
			}()
			require.NoError(t, w.write(nil))
			require.True(t, w.beginNow(), "nothing is left")
			_, err = w.endNow([]byte("last"))
			require.NoError(t, err)
			wrote.WriteString("last")
			assert.True(t, bytes.Equal(wrote.Bytes(), <-read))
		})
	}
}

// A write that waits for the other side keeps no Send waiting.
func TestNoWriteNowDuringAnother(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	w := newWire(a, timeout)
	assert.False(t, w.beginNow(), "a connection that is no socket can't be written to without waiting")
	assert.True(t, w.writing.TryLock(), "and nothing is held then")
}
