package paxoshttp

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// onlyHTTP2 speaks HTTP/2 on plain connections.
func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// servesHTTP2 runs a server of HTTP/2 on a pipe until the test ends.
func servesHTTP2(t *testing.T, h http.Handler) *pipeListener {
	return servesBy(t, &http.Server{Handler: h, Protocols: onlyHTTP2()})
}

// TestQuietWatchOverHTTP2: the time to take a line is over when it is taken. A stream of HTTP/2 would else end in a quiet time.
func TestQuietWatchOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fake{decisions: func(yield func(paxos.Learned, error) bool) {
			for i := range uint64(3) {
				time.Sleep(time.Minute)
				if !yield(paxos.Learned{Index: i + 1, Decision: paxos.Decision{Instance: "a"}}, nil) {
					return
				}
			}
		}}
		l := servesHTTP2(t, handlerOf(t, s, Config{WriteTimeout: 4 * time.Second, Heartbeat: 7 * time.Minute}))
		transport := &http.Transport{Protocols: onlyHTTP2(), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/watch", nil)
		require.NoError(t, err)
		answered, err := transport.RoundTrip(r)
		require.NoError(t, err)
		defer answered.Body.Close()
		require.Equal(t, 2, answered.ProtoMajor)
		seen := 0
		for in := bufio.NewScanner(answered.Body); in.Scan(); {
			if len(in.Text()) > 0 {
				seen++
			}
		}
		assert.Equal(t, 3, seen)
	})
}

// A freezing connection loses all that is written to it once it is frozen, and never breaks by itself.
type freezing struct {
	net.Conn
	frozen *atomic.Bool
}

func (f freezing) Write(text []byte) (int, error) {
	if f.frozen.Load() {
		return len(text), nil
	}
	return f.Conn.Write(text)
}

// TestClientLeavesADeadConnection: a connection of HTTP/2 to a machine that is gone is given up. Else each later call and each watch would
// wait on it, although the server is back.
func TestClientLeavesADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servesHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, answered)
		}))
		c := clientOf(t, ClientConfig{Servers: []string{"http://one.test"}, Try: 5 * time.Second})
		var frozen atomic.Bool
		first := true
		c.own.Protocols = onlyHTTP2()
		c.own.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := l.dial(ctx)
			if first {
				first, conn = false, freezing{conn, &frozen}
			}
			return conn, err
		}
		_, err := c.Propose(t.Context(), "a", "x")
		require.NoError(t, err)
		frozen.Store(true)
		began := time.Now()
		for err = io.EOF; err != nil && time.Since(began) < 10*time.Minute; {
			_, err = c.Propose(t.Context(), "a", "x")
		}
		require.NoError(t, err)
		assert.Less(t, time.Since(began), time.Minute)
		c.Close()
	})
}
