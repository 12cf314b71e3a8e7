package tcp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A blockedLog is a log whose reader has stopped: a write waits until it is opened.
type blockedLog struct {
	logBook
	open chan struct{}
	once sync.Once
}

func newBlockedLog() *blockedLog { return &blockedLog{open: make(chan struct{})} }

func (l *blockedLog) Write(b []byte) (int, error) {
	<-l.open
	return l.logBook.Write(b)
}

func (l *blockedLog) release() { l.once.Do(func() { close(l.open) }) }

// A Logger that blocks keeps nobody from being dialed and from being let in, and Close waits a second for it.
func TestBlockedLoggerHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		blocked := newBlockedLog()
		defer blocked.release()
		logger := slog.New(slog.NewTextHandler(blocked, &slog.HandlerOptions{Level: slog.LevelDebug}))
		a := n.start(t, 1, knows(2), func(c *Config, _ *hooks) { c.Logger = logger })
		for life := range uint64(5) {
			b := n.start(t, 2, knows(1))
			time.Sleep(2 * time.Second)
			assert.True(t, a.Stats().Peers[0].Out, "life %d", life)
			assert.True(t, a.Stats().Peers[0].In, "life %d", life)
			a.Send(packetOf(1, 2, life))
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			assert.Equal(t, life, p.Seq)
			b.Close()
			time.Sleep(time.Second)
			assert.False(t, a.Stats().Peers[0].Out)
		}
		began := time.Now()
		require.NoError(t, a.Close())
		assert.Equal(t, linesGrace, time.Since(began))
		assert.Empty(t, blocked.String())
		blocked.release()
		synctest.Wait()
		// A server that closes may let a last connection in, so there can be more lines than lives.
		assert.GreaterOrEqual(t, strings.Count(blocked.String(), "connected to peer"), 5, "the lines come when the log is read again\n%s", blocked)
	})
}

// Limits of frames that differ are told by both sides, with both values.
func TestFrameLimitsThatDifferAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		one, two := &logBook{}, &logBook{}
		a := n.start(t, 1, knows(2), logsTo(one))
		b := n.start(t, 2, logsTo(two), func(c *Config, _ *hooks) { c.Limits.MaxFrame = 1 << 20 })
		c := n.start(t, 3, knows(1))
		time.Sleep(time.Second)
		a.Close()
		b.Close()
		c.Close()
		one.says(t, "level=WARN", "the limit of frames differs from that of a peer", "server=1 peer=2", "Limits.MaxFrame is 1048576 there, 4259840 here")
		two.says(t, "level=WARN", "the limit of frames differs from that of a peer", "server=2 peer=1", "Limits.MaxFrame is 4259840 there, 1048576 here")
		assert.NotContains(t, one.String(), "differs from that of a peer\" cluster=prod server=1 peer=3")

		// A dialer of before says nothing of it, and is let in.
		b = n.start(t, 2)
		defer b.Close()
		old := n.client(t, "two")
		assert.Equal(t, uint64(4<<20+64<<10), old.welcome(helloOf(1, 2, 7)).maxBody)
		old.conn.Close()
	})
}

// A function of Config.TLS that does not return holds up the connection that it is called for, and Close for 5 s.
func TestCloseAlthoughTheUsersCodeHangs(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		never := make(chan struct{})
		own := newAuthority()
		secure := func(c *Config, _ *hooks) { c.Plain, c.TLS = false, own.config(own.issue("prod", c.ID)) }
		b := n.start(t, 2, secure)
		defer b.Close()
		a := n.start(t, 1, knows(2), secure, func(c *Config, _ *hooks) {
			c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				<-never
				return nil, context.Canceled
			}
		})
		synctest.Wait()
		began := time.Now()
		for range 2 {
			require.ErrorIs(t, a.Close(), errHangs)
		}
		assert.Equal(t, 2*closeGrace, time.Since(began))
		close(never)
		assert.NoError(t, a.Close())
	})
}
