package grpc

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A wall is a proxy that can become silent: it keeps connections open, and carries nothing.
type wall struct {
	addr string
	mu   sync.Mutex
	open *sync.Cond
	shut bool
	all  []net.Conn
	done bool
}

func newWall(t *testing.T, to string) *wall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wall{addr: l.Addr().String()}
	w.open = sync.NewCond(&w.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.all = append(w.all, near, far)
			w.mu.Unlock()
			running.Go(func() { w.carry(near, far) })
			running.Go(func() { w.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		w.done = true
		for _, c := range w.all {
			c.Close()
		}
		w.open.Broadcast()
		w.mu.Unlock()
		running.Wait()
	})
	return w
}

func (w *wall) silent(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = shut
	w.open.Broadcast()
}

// carry copies until either side ends.
func (w *wall) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		for w.shut && !w.done {
			w.open.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
