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

// Everything with a deadline, in virtual time.

func TestWhoSaysNothingIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		tr := n.start(t, 1)
		defer tr.Close()
		assert.Equal(t, 5*time.Second, n.client(t, "one").closedAfter())
		synctest.Wait()
		assert.Equal(t, map[Reason]uint64{ReasonSlow: 1}, tr.Stats().Refused)
	})
}

func TestWhoDawdlesWithItsHelloIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		tr := n.start(t, 1)
		defer tr.Close()
		c := n.client(t, "one")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, b := range appendHello([]byte(magic), helloOf(2, 1, 7)) {
				if _, err := c.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		assert.Equal(t, 5*time.Second, c.closedAfter())
		<-done
		synctest.Wait()
		assert.Equal(t, map[Reason]uint64{ReasonSlow: 1}, tr.Stats().Refused)
	})
}

func TestWhoIsLetInAndSilentIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		tr := n.start(t, 1)
		defer tr.Close()
		c := n.client(t, "one")
		c.welcome(helloOf(2, 1, 7))
		assert.Equal(t, 15*time.Second, c.closedAfter())
		synctest.Wait()
		assert.False(t, tr.Stats().Peers[0].In)
	})
}

// A frame has to come in time as a whole: the silence before each of its bytes does not count.
func TestWhoDawdlesWithAFrameIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		tr := n.start(t, 1)
		defer tr.Close()
		c := n.client(t, "one")
		c.welcome(helloOf(2, 1, 7))
		big := beginFrame(nil, kindPacket)
		big = append(big, make([]byte, 1<<20)...)
		endFrame(big, 0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, b := range big {
				if _, err := c.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		took := c.closedAfter()
		assert.InDelta(t, (15*time.Second + 16*time.Second).Seconds(), took.Seconds(), 1.5, "Idle, and a second for each 64 KiB")
		<-done
	})
}

// Frames that are slow to end, one after the other, each have their own time.
func TestEachFrameHasItsOwnTime(t *testing.T) {
	p := packetOf(2, 1, 1)
	for name, frame := range map[string][]byte{"packets": sealed(appendPacket(nil, &p)), "others": appendEmpty(nil, 77, 1)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *pipes) {
				tr := n.start(t, 1)
				defer tr.Close()
				c := n.client(t, "one")
				c.welcome(helloOf(2, 1, 7))
				ctx, cancel := context.WithCancel(context.Background())
				go func() {
					for ctx.Err() == nil {
						tr.Receive(ctx)
					}
				}()
				c.send(frame[:10])
				for range 10 { // the rest of one, with the beginning of the next
					time.Sleep(10 * time.Second)
					c.send(append(append([]byte{}, frame[10:]...), frame[:10]...))
				}
				synctest.Wait()
				s := tr.Stats()
				assert.Equal(t, uint64(10), s.Received+s.UnknownKinds)
				assert.True(t, s.Peers[0].In)
				cancel()
				c.conn.Close()
			})
		})
	}
}

func TestIdleConnectionsStay(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a, b := n.start(t, 1, knows(2)), n.start(t, 2, knows(1))
		defer b.Close()
		defer a.Close()
		time.Sleep(time.Hour)
		for _, tr := range []*Transport{a, b} {
			s := tr.Stats()
			assert.Equal(t, uint64(1), s.Connected)
			assert.Equal(t, uint64(1), s.Welcomed)
		}
		a.Send(packetOf(1, 2, 1))
		p, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, uint64(1), p.Seq)
	})
}

// A connection that carries nothing any more, with neither side told, is found by each side for itself, and made anew.
func TestHalfOpenConnectionIsFound(t *testing.T) {
	patient := func(c *Config, _ *hooks) { c.Timing.Idle = time.Hour }
	keen := func(*Config, *hooks) {}
	for name, change := range map[string][2]func(*Config, *hooks){"by the dialer": {keen, patient}, "by the listener": {patient, keen}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *pipes) {
				book := &logBook{}
				a, b := n.start(t, 1, knows(2), logsTo(book), change[0]), n.start(t, 2, change[1])
				defer b.Close()
				defer a.Close()
				time.Sleep(time.Second)
				require.True(t, a.Stats().Peers[0].Out)
				n.last().vanish()
				time.Sleep(20 * time.Second)
				assert.Equal(t, uint64(2), a.Stats().Connected)
				assert.Equal(t, uint64(2), b.Stats().Welcomed)
				book.says(t, "connection to peer lost", "peer=2")
				a.Send(packetOf(1, 2, 1))
				_, err := b.Receive(context.Background())
				require.NoError(t, err)
			})
		})
	}
}

// Whoever takes nothing is given up after the write's deadline, and Send never noticed.
func TestWhoTakesNothingIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		l := n.listen("two")
		a := n.start(t, 1, knows(2))
		defer a.Close()
		conn, err := l.Accept()
		require.NoError(t, err)
		r := &reader{wire: &wire{raw: conn, conn: conn}, maxBody: 1 << 20}
		require.NoError(t, r.magic())
		_, err = r.next()
		require.NoError(t, err)
		_, err = conn.Write(appendWelcome([]byte(magic), hello{highest: 1, cluster: "prod", from: 2, to: 1, instance: 9, maxBody: 1 << 20}))
		require.NoError(t, err)
		synctest.Wait()
		began := time.Now()
		for range 1000 {
			a.Send(packetOf(1, 2, 1))
		}
		assert.Zero(t, time.Since(began))
		conn2, err := l.Accept()
		require.NoError(t, err)
		took := time.Since(began)
		assert.GreaterOrEqual(t, took, 10*time.Second)
		assert.Less(t, took, 11*time.Second)
		assert.Positive(t, a.Stats().Lost)
		conn.Close()
		conn2.Close()
		l.Close()
	})
}

// Dials that fail are spread out, and a call from the peer ends the wait at once.
func TestRedial(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a := n.start(t, 1, knows(2))
		defer a.Close()
		time.Sleep(time.Minute)
		before := len(n.dials())
		assert.Greater(t, before, 60, "a second at most between two")
		assert.Less(t, before, 200, "half a second on average")
		b := n.start(t, 2, knows(1), func(c *Config, _ *hooks) { c.Timing.MaxRedial = time.Hour })
		defer b.Close()
		synctest.Wait()
		assert.True(t, a.Stats().Peers[0].Out, "it called back without delay")
		assert.True(t, b.Stats().Peers[0].Out)
	})
}

// A listener that lets a server in and then hangs up does not make it dial in a hurry.
func TestRedialOfWhoHangsUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		l := n.listen("two")
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				r := &reader{wire: &wire{raw: conn, conn: conn}, maxBody: 1 << 20}
				if r.magic() == nil {
					r.next()
					conn.Write(appendWelcome([]byte(magic), hello{highest: 1, cluster: "prod", from: 2, to: 1, instance: 9, maxBody: 1 << 20}))
				}
				conn.Close()
			}
		}()
		a := n.start(t, 1, knows(2))
		time.Sleep(time.Minute)
		assert.Less(t, len(n.dials()), 200)
		a.Close()
		l.Close()
	})
}

func TestAcceptErrorsAreSurvived(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		book := &logBook{}
		b := n.start(t, 2, logsTo(book))
		defer b.Close()
		l := b.listener.(*pipeListener)
		for range 20 {
			l.fail <- errFiles
		}
		began := time.Now()
		time.Sleep(5 * time.Second)
		assert.Less(t, b.Stats().AcceptErrors, uint64(20), "each pause is twice the last one, up to a second")
		time.Sleep(time.Minute)
		assert.Equal(t, uint64(20), b.Stats().AcceptErrors)
		a := n.start(t, 1, knows(2))
		defer a.Close()
		a.Send(packetOf(1, 2, 1))
		_, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Less(t, time.Since(began), 2*time.Minute)
		book.says(t, "connections can't be accepted", "too many open files")
	})
}

// If somebody else closes the listener, the Transport is of no use, and says so.
func TestListenerClosedByOthers(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		b.listener.Close()
		_, err := b.Receive(context.Background())
		require.ErrorContains(t, err, "tcp: the listener was closed, but not by Transport.Close")
		assert.NotErrorIs(t, err, paxos.ErrClosed)
	})
}

// The oldest of those who have not proved who they are goes when there are too many.
func TestTheOldestStrangerGoes(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		tr := n.start(t, 1, func(c *Config, _ *hooks) { c.Limits.Pending = 3 })
		defer tr.Close()
		var strangers []*client
		for range 3 {
			strangers = append(strangers, n.client(t, "one"))
			time.Sleep(time.Second)
		}
		member := n.client(t, "one")
		member.welcome(helloOf(2, 1, 7)) // makes the first go, and is not pending any more
		assert.Zero(t, strangers[0].closedAfter())
		strangers = append(strangers, n.client(t, "one"))
		time.Sleep(time.Millisecond)
		assert.Equal(t, 3, tr.Stats().Pending)
		assert.Equal(t, map[Reason]uint64{ReasonSlow: 1}, tr.Stats().Refused)
		assert.True(t, tr.Stats().Peers[0].In)
		member.conn.Close()
		for _, s := range strangers {
			s.conn.Close()
		}
	})
}
