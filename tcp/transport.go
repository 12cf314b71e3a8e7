package tcp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Why a wire ends that nothing is wrong with.
var (
	errClosed   = fmt.Errorf("tcp: transport: %w", paxos.ErrClosed)
	errMoved    = errors.New("tcp: the server's address has changed")
	errRenewed  = errors.New("tcp: the TLS configuration has changed")
	errReplaced = errors.New("tcp: its process has connected anew")
	errGone     = errors.New("tcp: its process has closed, and another one asks for its place")
)

// A Transport is one server's end of a cluster's network: a paxos.Transport over TCP. Send is safe for concurrent use, and
// so are all other methods but Receive, which is for one goroutine at a time.
type Transport struct {
	config   Config
	hooks    hooks
	instance uint64 // random: which process, and which Transport in it
	listener net.Listener
	tls      atomic.Pointer[tls.Config] // as the user gave it, copied; nil: plain
	senders  map[paxos.ServerID]*sender // of all other members; the map never changes
	slots    map[paxos.ServerID]*slot   // likewise
	pending  pending
	inbox    inbox
	receipt  receipt
	report   reporter
	counters counters

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	closed atomic.Bool
	once   sync.Once
	all    sync.WaitGroup
	ended  chan struct{} // closed when all goroutines have ended
	err    error         // of closing the listener; set before ended is closed
}

var (
	_ paxos.IDTransport    = (*Transport)(nil)
	_ paxos.SizedTransport = (*Transport)(nil)
)

// hooks are what tests replace.
type hooks struct {
	dial            func(ctx context.Context, addr string) (net.Conn, error)
	lowest, highest uint64 // versions of the format
}

// Listen starts the Transport that cfg describes: it listens, and dials the others, from now on. An error names the field
// that is wrong, or says why the address can't be listened on.
func Listen(cfg Config) (*Transport, error) {
	dialer := net.Dialer{}
	return listen(cfg, hooks{lowest: lowestVersion, highest: highestVersion, dial: func(ctx context.Context, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", addr)
	}})
}

func listen(cfg Config, h hooks) (*Transport, error) {
	cfg.Limits, cfg.Timing = cfg.Limits.withDefaults(), cfg.Timing.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("tcp: listen: %w", err)
	}
	cfg.Members.Acceptors, cfg.Members.Learners = slices.Clone(cfg.Members.Acceptors), slices.Clone(cfg.Members.Learners)
	listener := cfg.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("tcp: listen: Config.Addr: %w", err)
		}
	}
	var random [8]byte
	rand.Read(random[:])
	t := &Transport{config: cfg, hooks: h, instance: binary.LittleEndian.Uint64(random[:]), listener: listener, ended: make(chan struct{}),
		senders: map[paxos.ServerID]*sender{}, slots: map[paxos.ServerID]*slot{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.pending.most = cfg.Limits.Pending
	t.inbox.init()
	t.report.init(cfg)
	if cfg.TLS != nil {
		t.tls.Store(cfg.TLS.Clone())
	}
	for _, ids := range [][]paxos.ServerID{cfg.Members.Acceptors, cfg.Members.Learners} {
		for _, id := range ids {
			if id != cfg.ID {
				t.senders[id] = newSender(t, id, cfg.Peers[id])
				t.slots[id] = newSlot()
			}
		}
	}
	t.warnPlain()
	t.all.Go(t.accept)
	for _, s := range t.senders {
		t.all.Go(s.run)
	}
	return t, nil
}

// warnPlain warns when everybody on a network can speak as any server.
func (t *Transport) warnPlain() {
	addr, ok := t.listener.Addr().(*net.TCPAddr)
	if t.config.Plain && !(ok && addr.IP.IsLoopback()) {
		t.report.warn("plain TCP on an address that is not loopback: whoever reaches it can read everything and speak as any server",
			"addr", t.listener.Addr().String())
	}
}

// ID returns Config.ID. paxos.Start refuses a Node of another server on this Transport.
func (t *Transport) ID() paxos.ServerID { return t.config.ID }

// Send queues p for the server p.To, as from this server, whatever p.From says. It is lost if that is not another member,
// if its address is not known, if p is too large, or if so much is queued behind it that it is the oldest; all are
// counted. See paxos.Transport.
func (t *Transport) Send(p paxos.Packet) {
	s := t.senders[p.To]
	if s == nil || t.closed.Load() {
		t.counters.unknown.Add(1)
		return
	}
	p.From = t.config.ID
	if s.unaddressed.Load() {
		s.queue.count(queueCounts{unreachable: 1})
		return
	}
	if s.queue.push(&p) {
		s.sendNow()
	}
}

// MaxPacket returns Config.Limits.MaxFrame: see paxos.SizedTransport.
func (t *Transport) MaxPacket() int { return t.config.Limits.MaxFrame }

// Addr returns the address that the Transport listens on.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetAddr tells where another server is from now on, "host:port". If that is new, the connection to the old address is
// closed, and the new one is dialed at once. It returns an error if id is not another member, or if addr can't be dialed,
// as when it has no port; then nothing has changed, and a connection that stands goes on.
func (t *Transport) SetAddr(id paxos.ServerID, addr string) error {
	if err := checkPeer(t.config.Members, t.config.ID, id); err != nil {
		return fmt.Errorf("tcp: set address: %w", err)
	}
	if err := checkAddr(addr); err != nil {
		return fmt.Errorf("tcp: set address: server %d: %w", id, err)
	}
	t.senders[id].move(addr)
	return nil
}

// SetTLS replaces Config.TLS, as when an authority is added or taken away. All connections are closed and made anew, so
// that none stands on what no longer holds; that takes some milliseconds. It returns an error that names what is wrong
// with c, which is copied, and then nothing has changed.
func (t *Transport) SetTLS(c *tls.Config) error {
	if t.config.Plain {
		return errors.New("tcp: set TLS: Config.Plain: true")
	}
	if err := checkTLS(c); err != nil {
		return fmt.Errorf("tcp: set TLS: %w", err)
	}
	// Whoever connects looks at the configuration once more after it is found here.
	t.tls.Store(c.Clone())
	for _, s := range t.slots {
		s.end(errRenewed)
	}
	for _, s := range t.senders {
		s.end(errRenewed)
	}
	return nil
}

// How long Close waits for the goroutines to end, and for the Logger to take the last lines.
const (
	closeGrace = 5 * time.Second
	linesGrace = time.Second
)

var errHangs = errors.New("tcp: close: a goroutine has not ended: a function of Config.TLS or a Config.Listener has not returned")

// Close closes the listener and all connections, and returns when the goroutines of the Transport have ended. What is
// queued is lost; Receive returns an error that wraps paxos.ErrClosed, and Send does nothing. It may be called more than
// once, and returns the error of closing the listener. If the user's code blocks, it does not wait for ever: 1 s for the
// Logger to take the last lines, which are lost else, and 5 s for functions of Config.TLS and for Config.Listener, and
// then it returns an error that says so.
func (t *Transport) Close() error {
	t.once.Do(func() {
		t.closed.Store(true)
		t.cancel()
		t.all.Go(func() {
			if err := t.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.err = fmt.Errorf("tcp: close: %w", err)
			}
		})
		t.inbox.end(errClosed)
		go func() {
			t.all.Wait()
			close(t.ended)
		}()
	})
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-t.ended:
	case <-timer.C:
		return errHangs
	}
	t.report.lines.Wait(linesGrace)
	return t.err
}

// sleep waits, and returns false if the Transport is closed meanwhile.
func (t *Transport) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// signal leaves one signal in c, which holds one at most.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
