package tcp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Reasons to end a wire that has no fault.
var (
	errClosed   = fmt.Errorf("tcp: transport: %w", paxos.ErrClosed)
	errMoved    = errors.New("tcp: the server's address has changed")
	errLeft     = errors.New("tcp: the server is no member any more")
	errRenewed  = errors.New("tcp: the TLS configuration has changed")
	errReplaced = errors.New("tcp: its process has connected anew")
	errGone     = errors.New("tcp: its process has closed, and another one asks for its place")
)

// A Transport is one server's end of the network of a cluster: a [paxos.Transport] over TCP. Receive is for one goroutine at a time. All
// other methods are safe for concurrent use.
type Transport struct {
	config   Config
	hooks    hooks
	instance uint64 // random: names this Transport in this process
	listener net.Listener
	tls      atomic.Pointer[tls.Config]               // a copy of what the user gave; nil: plain
	peers    atomic.Pointer[map[paxos.ServerID]*peer] // the other members; a map never changes, another one takes its place
	pending  pending
	inbox    inbox
	receipt  receipt
	report   reporter
	counters counters

	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	changing sync.Mutex // held while peers change, and while closed is set: no goroutine begins after that
	closed   atomic.Bool
	once     sync.Once
	all      sync.WaitGroup
	ended    chan struct{} // closed when all goroutines have ended
	err      error         // the error of closing the listener; set before ended is closed
}

var (
	_ paxos.IDTransport    = (*Transport)(nil)
	_ paxos.SizedTransport = (*Transport)(nil)
	_ paxos.ReachTransport = (*Transport)(nil)
)

// A peer is another member. It has a sender, and a place for the process that sends to this server.
type peer struct {
	sender *sender
	slot   *slot
	shown  *showing
}

func newPeer(t *Transport, id paxos.ServerID, addr string) *peer {
	shown := &showing{}
	return &peer{newSender(t, id, addr, shown), newSlot(), shown}
}

// hooks are functions and values that tests replace.
type hooks struct {
	dial            func(ctx context.Context, addr string) (net.Conn, error)
	lowest, highest uint64 // versions of the format
}

// Listen starts a [Transport] as cfg says: it listens, and dials the others, from now on. An error names the field that is wrong, or says
// why it can't listen on the address.
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
	t := &Transport{config: cfg, hooks: h, instance: binary.LittleEndian.Uint64(random[:]), listener: listener, ended: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.pending.most = cfg.Limits.Pending
	t.inbox.init()
	t.report.init(cfg, func(id paxos.ServerID) bool { return t.peer(id) != nil })
	if cfg.TLS != nil {
		t.tls.Store(cfg.TLS.Clone())
	}
	peers := map[paxos.ServerID]*peer{}
	for _, ids := range [][]paxos.ServerID{cfg.Members.Acceptors, cfg.Members.Learners} {
		for _, id := range ids {
			if id != cfg.ID {
				peers[id] = newPeer(t, id, cfg.Peers[id])
			}
		}
	}
	t.peers.Store(&peers)
	t.warnPlain()
	t.all.Go(t.accept)
	for _, p := range peers {
		t.all.Go(p.sender.run)
	}
	return t, nil
}

// warnPlain warns if anybody on a network can speak as any server.
func (t *Transport) warnPlain() {
	addr, ok := t.listener.Addr().(*net.TCPAddr)
	if t.config.Plain && !(ok && addr.IP.IsLoopback()) {
		t.report.warn("plain TCP on an address that is not loopback: whoever reaches it can read everything and speak as any server",
			"addr", t.listener.Addr().String())
	}
}

// peer returns the other member with that ID; nil: there is none.
func (t *Transport) peer(id paxos.ServerID) *peer { return (*t.peers.Load())[id] }

// ID returns Config.ID. node.Start refuses this Transport for any other server.
func (t *Transport) ID() paxos.ServerID { return t.config.ID }

// Send queues p for the server p.To; p.From is set to this server. It never waits. The packet is lost and counted in [Stats] if p.To is
// not another member or has no known address, or if p is too large. It is lost, too, if it becomes the oldest in a full queue. See
// [paxos.Transport].
func (t *Transport) Send(p paxos.Packet) {
	to := t.peer(p.To)
	if to == nil || t.closed.Load() {
		t.counters.drops.unknown.Add(1)
		return
	}
	s := to.sender
	p.From = t.config.ID
	if s.unaddressed.Load() {
		s.queue.drops.unreachable.Add(1)
		return
	}
	if s.queue.push(&p) {
		s.sendNow()
	}
}

// MaxPacket returns Config.Limits.MaxFrame: see [paxos.SizedTransport].
func (t *Transport) MaxPacket() int { return t.config.Limits.MaxFrame }

// Addr returns the address that the Transport listens on.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetAddr sets the address of another server, "host:port", until the next SetAddr or [Transport.Reach]. If the address is new, the
// connection to the old one is closed, and the new one is dialed at once.
//
// It returns an error if id is not another member, or if addr can't be dialed, for example without a port. Then nothing has changed, and
// an open connection stays. SetAddr makes no server a member: Reach does.
func (t *Transport) SetAddr(id paxos.ServerID, addr string) error {
	p := t.peer(id)
	switch {
	case id == t.config.ID:
		return fmt.Errorf("tcp: set address: server %d is this one", id)
	case p == nil:
		return fmt.Errorf("tcp: set address: server %d is not in Config.Members, nor a member by Transport.Reach", id)
	}
	if err := checkAddr(addr); err != nil {
		return fmt.Errorf("tcp: set address: server %d: %w", id, err)
	}
	p.sender.move(addr)
	return nil
}

// Reach makes another server a member, at an address "host:port". From then on it is dialed, and may connect. If it is a member already,
// Reach is as SetAddr, and packets that wait for the server stay. An address without host or port is logged as one that can't be reached.
//
// An empty address means that the server is no member any more. Its connections end, what waits for it is lost and counted, and it is
// refused when it connects. So is any other server that is not in Config.Members, and that no Reach has named. See
// [paxos.ReachTransport].
//
// At most 2,176 other members are known at a time. One more is logged, and not reached.
//
// Reach waits for nothing, but for the code of a Config.Listener that closes a connection.
func (t *Transport) Reach(id paxos.ServerID, address string) {
	if id == 0 || id == t.config.ID {
		return
	}
	if len(address) > maxAddr { // it is none, and the log and Stats show it
		address = address[:maxAddr] + "…"
	}
	if p := t.change(id, address); p != nil { // without the lock: Config.Listener may have the code that closes a connection
		p.slot.shut(refuse(ReasonStranger, "server %d is no member any more", id))
		p.sender.leave()
		t.report.forget(id)
	}
}

// change is Reach, but for the end of a peer that is no member any more. It returns that peer.
func (t *Transport) change(id paxos.ServerID, address string) (left *peer) {
	t.changing.Lock()
	defer t.changing.Unlock()
	peers := *t.peers.Load()
	p := peers[id]
	switch {
	case t.closed.Load(), p == nil && address == "":
	case p != nil && address != "":
		p.sender.move(address)
	case p != nil:
		peers = maps.Clone(peers)
		delete(peers, id)
		t.peers.Store(&peers)
		t.report.info("peer is no member any more", "peer", uint64(id))
		return p
	case len(peers) >= maxPeers:
		t.report.refused(about{what: "peers"}, "peer is not reached: there are too many", "peer", uint64(id), "addr", address, "err",
			fmt.Sprintf("%d other members are known: that is the limit", maxPeers))
	default:
		peers = maps.Clone(peers)
		peers[id] = newPeer(t, id, address)
		t.peers.Store(&peers)
		t.report.info("peer is a member now", "peer", uint64(id), "addr", address)
		t.all.Go(peers[id].sender.run)
	}
	return nil
}

// SetTLS replaces Config.TLS, for example when an authority is added or removed. It closes all connections and makes them anew, which
// takes some milliseconds. So no connection depends any longer on a certificate that is no longer valid.
//
// c is copied. An error names what is wrong with c; then nothing has changed.
func (t *Transport) SetTLS(c *tls.Config) error {
	if t.config.Plain {
		return errors.New("tcp: set TLS: Config.Plain is true: this Transport has no TLS")
	}
	if err := checkTLS(c); err != nil {
		return fmt.Errorf("tcp: set TLS: %w", err)
	}
	// A new connection reads the configuration once more after it is found here.
	t.tls.Store(c.Clone())
	for _, p := range *t.peers.Load() {
		p.slot.end(errRenewed)
		p.sender.end(errRenewed)
	}
	return nil
}

// How long Close waits: for the goroutines to end, and for the Logger to take the last lines.
const (
	closeGrace = 5 * time.Second
	linesGrace = time.Second
)

var errHangs = errors.New("tcp: close: a goroutine has not ended: a function of Config.TLS or a Config.Listener has not returned")

// Close closes the listener and all connections, and returns when the goroutines of the Transport have ended. Packets in the queues are
// lost. Receive then returns an error that wraps [paxos.ErrClosed], and Send does nothing. Close may be called more than once. It returns
// the error of closing the listener.
//
// Close does not wait for ever for code of the user. It waits 1 s for the Logger to take the last lines, and drops the rest. It waits 5 s
// for functions of Config.TLS and for Config.Listener; then it returns an error that says so.
func (t *Transport) Close() error {
	t.once.Do(func() {
		t.changing.Lock()
		t.closed.Store(true)
		t.changing.Unlock()
		t.cancel(errClosed)
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

// sleep waits for d. It returns false if the Transport is closed in that time.
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

// signal leaves one signal in c, a channel with room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
