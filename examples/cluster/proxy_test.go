package main

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A link is a proxy between a server that dials and one that listens, which a test cuts, slows and resets. A link that is cut holds bytes
// back, and lets them through later, however late. A reset loses bytes.
type link struct {
	listener net.Listener
	target   string
	all      sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	closed  bool
	delay   time.Duration
	changed chan struct{} // closed at every change
	cut     bool
}

// newLink starts a link to the address target.
func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{listener: listener, target: target, conns: map[net.Conn]bool{}, changed: make(chan struct{})}
	l.all.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.all.Go(func() { l.serve(near) })
	}
}

// serve connects near with the target, when the link is not cut, and moves bytes until either end closes.
func (l *link) serve(near net.Conn) {
	defer near.Close()
	if !l.enter(near) {
		return
	}
	defer l.leave(near)
	if !l.open(nil) {
		return
	}
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.enter(far) {
		return
	}
	defer l.leave(far)
	var back sync.WaitGroup
	back.Go(func() { l.move(near, far) })
	l.move(far, near)
	back.Wait()
}

// enter notes a connection, so that reset and close find it.
func (l *link) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.conns[c] = true
	}
	return !l.closed
}

func (l *link) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// move moves bytes, as the link allows, and then closes both.
func (l *link) move(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && (!l.open(from) || !writeAll(to, buf[:n])) {
			return
		}
		if err != nil {
			return
		}
	}
}

func writeAll(to io.Writer, b []byte) bool {
	_, err := to.Write(b)
	return err == nil
}

// open waits until bytes may pass, and returns false if that connection has been closed meanwhile; nil: only the link counts.
func (l *link) open(c net.Conn) bool {
	waited := false
	for {
		l.mu.Lock()
		cut, delay, changed := l.cut, l.delay, l.changed
		gone := l.closed || c != nil && !l.conns[c]
		l.mu.Unlock()
		switch {
		case gone:
			return false
		case cut:
			<-changed
		case delay > 0 && !waited:
			timer := time.NewTimer(delay)
			select {
			case <-timer.C:
			case <-changed:
			}
			timer.Stop()
			waited = true
		default:
			return true
		}
	}
}

// set cuts the link or joins it, and delays what passes it.
func (l *link) set(cut bool, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.delay = cut, delay
	close(l.changed)
	l.changed = make(chan struct{})
}

// reset ends all connections at once, and the bytes in them are lost.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		delete(l.conns, c)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) close() {
	l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.reset()
	l.all.Wait()
}

// TestLink: a link holds back while it is cut, and lets through what it held; a reset ends what is connected.
func TestLink(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var served sync.WaitGroup
	defer served.Wait()
	defer echo.Close()
	served.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	l := newLink(t, echo.Addr().String())
	defer l.close()
	c, err := net.Dial("tcp", l.addr())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(aWhile)))
	say := func(text string) {
		_, err := c.Write([]byte(text))
		require.NoError(t, err)
	}
	hear := func(text string) {
		got := make([]byte, len(text))
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		assert.Equal(t, text, string(got))
	}
	say("one")
	hear("one")
	l.set(true, 0)
	say("two")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	var late net.Error
	require.ErrorAs(t, err, &late)
	require.True(t, late.Timeout())
	require.NoError(t, c.SetReadDeadline(time.Now().Add(aWhile)))
	l.set(false, time.Millisecond)
	hear("two")
	l.reset()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
}
