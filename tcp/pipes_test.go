package tcp

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// pipes is a network in memory, for synctest bubbles, in which time costs nothing. A server's address is its name, with any port.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	conns     []*pipeConn // the dialers' ends, in order
	dialed    []time.Time
}

// A pipeListener is a net.Listener.
type pipeListener struct {
	name  string
	conns chan net.Conn
	fail  chan error // the first errors that Accept returns
	once  sync.Once
	gone  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.fail:
		return nil, err
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.name) }

type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }

// A pipeConn is one end of a connection. After vanish, what is written goes nowhere, and nothing comes.
type pipeConn struct {
	net.Conn
	writes   atomic.Int64
	vanished atomic.Bool
}

func (c *pipeConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	if c.vanished.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *pipeConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.vanished.Load() {
			return n, err
		}
	}
}

// vanish is a cable that is cut: neither side hears of it. other is the other end.
func (c *pipeConn) vanish() { c.vanished.Store(true) }

func newPipes() *pipes { return &pipes{listeners: map[string]*pipeListener{}} }

func (n *pipes) listen(name string) *pipeListener {
	l := &pipeListener{name: name, conns: make(chan net.Conn), fail: make(chan error, 100), gone: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[name] = l
	return l
}

func (n *pipes) dial(ctx context.Context, name string) (net.Conn, error) {
	name, _, _ = strings.Cut(name, ":")
	n.mu.Lock()
	l := n.listeners[name]
	n.dialed = append(n.dialed, time.Now())
	n.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	a, b := net.Pipe()
	end := &pipeConn{Conn: a}
	select {
	case l.conns <- b:
	case <-l.gone:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, end)
	return end, nil
}

// last returns the dialer's end of the latest connection.
func (n *pipes) last() *pipeConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[len(n.conns)-1]
}

func (n *pipes) dials() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialed
}

var pipeNames = map[paxos.ServerID]string{1: "one", 2: "two", 3: "three"}

// start listens at the server's name, changed as asked; the test closes it.
func (n *pipes) start(t *testing.T, id paxos.ServerID, changes ...func(*Config, *hooks)) *Transport {
	t.Helper()
	c := Config{ID: id, Members: members(3), Listener: n.listen(pipeNames[id]), Plain: true}
	h := hooks{dial: n.dial, lowest: lowestVersion, highest: highestVersion}
	for _, change := range changes {
		change(&c, &h)
	}
	tr, err := listen(c, h)
	require.NoError(t, err)
	return tr
}

// knows gives a server the addresses of others.
func knows(ids ...paxos.ServerID) func(*Config, *hooks) {
	return func(c *Config, _ *hooks) {
		c.Peers = map[paxos.ServerID]string{}
		for _, id := range ids {
			c.Peers[id] = pipeNames[id] + ":7000"
		}
	}
}

func logsTo(l *logBook) func(*Config, *hooks) {
	return func(c *Config, _ *hooks) { c.Logger = l.logger() }
}

// client dials a server by hand.
func (n *pipes) client(t *testing.T, name string) *client {
	t.Helper()
	conn, err := n.dial(context.Background(), name)
	require.NoError(t, err)
	return &client{t, conn, &reader{wire: &wire{raw: conn, conn: conn, dead: make(chan struct{})}, maxBody: 1 << 20}}
}

// closedAfter waits until the other side closes, and returns how long that took.
func (c *client) closedAfter() time.Duration {
	began := time.Now()
	b := make([]byte, 1<<10)
	for {
		if _, err := c.conn.Read(b); err != nil {
			c.conn.Close()
			return time.Since(began)
		}
	}
}

func bubble(t *testing.T, f func(t *testing.T, n *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newPipes()) })
}

var errFiles = errors.Join(errors.New("accept"), syscall.EMFILE)
