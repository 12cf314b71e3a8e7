package grpc

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// A Transport is one server's end of the network of a cluster: a [paxos.Transport] over gRPC. Receive is for one goroutine at a time. All other
// methods are safe for concurrent use.
type Transport struct {
	common
	peers   atomic.Pointer[map[paxos.ServerID]*other] // a map never changes, another one takes its place
	inbox   chan batch
	receipt receipt

	cancel   context.CancelCauseFunc
	changing sync.Mutex // held while peers change, and while closed is set: no goroutine begins after that
	closed   bool
	all      sync.WaitGroup
	once     sync.Once
	ended    chan struct{}
}

var (
	_ paxos.IDTransport    = (*Transport)(nil)
	_ paxos.SizedTransport = (*Transport)(nil)
	_ paxos.ReachTransport = (*Transport)(nil)
)

// An other is another member.
type other struct {
	sender *sender
	slot   *slot
}

// New starts a [Transport] as cfg says. It dials the others from now on; give it to a grpc.Server by [Transport.Register], so that they can reach
// it. An error names the field that is wrong.
func New(cfg Config) (*Transport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("grpc: new: %w", err)
	}
	cfg.Members = cfg.Members.Clone()
	cfg.DialOptions = slices.Clone(cfg.DialOptions)
	var random [8]byte
	rand.Read(random[:])
	t := &Transport{inbox: make(chan batch), ended: make(chan struct{})}
	t.config, t.instance = cfg, binary.LittleEndian.Uint64(random[:])
	t.common.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.log.said = map[about]time.Time{}
	t.log.lines = lines.New(cfg.Logger, "cluster", cfg.Members.Cluster, "server", uint64(cfg.ID))
	if cfg.TLS != nil {
		t.tls.Store(cfg.TLS.Clone())
	}
	peers := map[paxos.ServerID]*other{}
	for _, id := range slices.Concat(cfg.Members.Acceptors, cfg.Members.Learners) {
		if id != cfg.ID && peers[id] == nil {
			peers[id] = &other{newSender(&t.common, id, cfg.Peers[id]), newSlot()}
			t.all.Go(peers[id].sender.run)
		}
	}
	t.peers.Store(&peers)
	return t, nil
}

// Register adds the service "paxos.Transport" to a grpc.Server, which must not serve yet. A grpc.Server takes one Transport.
func (t *Transport) Register(s rpc.ServiceRegistrar) {
	s.RegisterService(&rpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Streams: []rpc.StreamDesc{{StreamName: packets,
		Handler:       func(_ any, stream rpc.ServerStream) error { return t.serve(stream) },
		ServerStreams: true, ClientStreams: true}}}, t)
}

// ID returns Config.ID. node.Start refuses this Transport for any other server.
func (t *Transport) ID() paxos.ServerID { return t.config.ID }

// MaxPacket returns Config.Limits.MaxPacket: see [paxos.SizedTransport].
func (t *Transport) MaxPacket() int { return t.config.Limits.MaxPacket }

func (t *Transport) peer(id paxos.ServerID) *other { return (*t.peers.Load())[id] }

// Send queues p for the server p.To; p.From is set to this server. It never waits. The packet is lost and counted in [Stats] if p.To is not
// another member or has no known address, or if p is too large. It is lost, too, if it becomes the oldest in a full queue. See
// [paxos.Transport].
func (t *Transport) Send(p paxos.Packet) {
	to := t.peer(p.To)
	switch {
	case to == nil, t.common.ctx.Err() != nil:
		t.counters.drops.unknown.Add(1)
	case to.sender.unaddressed.Load():
		t.counters.drops.unreachable.Add(1)
	default:
		p.From = t.config.ID
		if to.sender.queue.push(&p) {
			signal(to.sender.wake)
		}
	}
}

// A receipt is the state of Receive. It belongs to the goroutine that calls Receive.
type receipt struct {
	decoder paxos.Decoder
	packet  paxos.Packet // returned last; its Messages go back to the decoder
	batch   batch
}

// Receive waits for a packet. When ctx has ended, it returns the error of ctx, even if packets wait. When the Transport is closed, the error wraps
// [paxos.ErrClosed]. See [paxos.Transport].
func (t *Transport) Receive(ctx context.Context) (paxos.Packet, error) {
	r := &t.receipt
	for {
		switch {
		case ctx.Err() != nil:
			return paxos.Packet{}, ctx.Err()
		case t.common.ctx.Err() != nil:
			return paxos.Packet{}, errClosed
		}
		for len(r.batch.frames) > 0 && !r.batch.from.condemned.Load() {
			var body []byte
			if body, r.batch.frames = nextFrame(r.batch.frames); len(body) == 0 {
				continue
			}
			if err := r.decode(body, t.config.ID); err != nil {
				r.batch.from.wrong(err)
				continue
			}
			t.counters.received.Add(1)
			return r.packet, nil
		}
		r.batch = batch{}
		select {
		case r.batch = <-t.inbox:
		case <-t.common.ctx.Done():
		case <-ctx.Done():
		}
	}
}

// decode reads a packet. It must be from the peer of the stream, and for this server.
func (r *receipt) decode(body []byte, own paxos.ServerID) error {
	from := r.batch.from.from
	if err := r.decoder.Packet(body, &r.packet); err != nil {
		return fmt.Errorf("server %d sent a malformed packet: %w", from, err)
	}
	if r.packet.From != from || r.packet.To != own {
		return fmt.Errorf("server %d sent a packet from server %d to server %d, this is server %d", from, r.packet.From, r.packet.To, own)
	}
	return nil
}

// serve runs a stream that another server has opened, from beginning to end.
func (t *Transport) serve(stream rpc.ServerStream) error {
	in, p, err := t.greet(stream)
	if err != nil {
		t.counters.refused.Add(1)
		addr := "unknown"
		if from, ok := peer.FromContext(stream.Context()); ok {
			addr = from.Addr.String()
		}
		t.log.wrong(0, "stream refused", "addr", addr, "err", err)
		return err
	}
	in.idle = time.AfterFunc(t.config.Timing.Idle, func() { in.fail(errIdle) })
	stop := context.AfterFunc(t.common.ctx, func() { in.fail(errClosed) })
	defer stop()
	if err := t.begin(in, p); err != nil {
		in.fail(err)
	}
	<-in.done
	in.idle.Stop()
	p.slot.leave(in)
	switch err := in.err; {
	case err == io.EOF, err == errReplaced, err == errRenewed, err == errLeft, err == errClosed, status.Code(err) == codes.Canceled:
		return status.Error(codes.Unavailable, err.Error())
	default:
		t.log.wrong(in.from, "peer's stream ended", "err", err)
		return status.Error(codes.Aborted, err.Error())
	}
}

// begin welcomes the peer, and starts the goroutines of its stream. They end soon after serve returns, with the context of the stream.
func (t *Transport) begin(in *inbound, p *other) error {
	if err := in.stream.SendHeader(t.hello(in.from).metadata()); err != nil {
		return err
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	if t.closed {
		return errClosed
	}
	t.all.Go(in.read)
	t.all.Go(in.beat)
	t.counters.welcomed.Add(1)
	p.sender.kick()
	return nil
}

// greet returns the stream of a member that has proved who it is, in its slot. Its error has a status.
func (t *Transport) greet(stream rpc.ServerStream) (*inbound, *other, error) {
	md, _ := metadata.FromIncomingContext(stream.Context())
	h, err := helloIn(md)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	own, config, p := t.config.Members.Cluster, t.tls.Load(), t.peer(h.from)
	switch {
	case t.common.ctx.Err() != nil:
		return nil, nil, status.Error(codes.Unavailable, errClosed.Error())
	case h.cluster != own:
		return nil, nil, status.Errorf(codes.FailedPrecondition, "server %d is of cluster %q, server %d is of cluster %q", h.from, h.cluster, t.config.ID, own)
	case h.to != t.config.ID:
		return nil, nil, status.Errorf(codes.FailedPrecondition, "server %d has dialed server %d, but this is server %d: check the address there", h.from, h.to, t.config.ID)
	}
	var shown *x509.Certificate
	if config != nil {
		if shown, err = clientOf(stream.Context(), config, own, h.from); err != nil {
			return nil, nil, status.Errorf(codes.Unauthenticated, "as server %d: %v", h.from, err)
		}
	}
	if p == nil {
		return nil, nil, status.Errorf(codes.PermissionDenied, "server %d is not one of the other members that server %d knows: a new server must become a member first",
			h.from, t.config.ID)
	}
	in := &inbound{common: &t.common, stream: stream, from: h.from, hello: h, inbox: t.inbox, done: make(chan struct{}),
		asked: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
	if err := p.slot.enter(in); err != nil {
		return nil, nil, status.Errorf(codes.AlreadyExists, "as server %d: %v", h.from, err)
	}
	if shown != nil {
		p.slot.shown.Store(&shown.NotAfter)
	}
	if t.tls.Load() != config { // SetTLS ends the streams that it finds in the slots
		in.fail(errRenewed)
	}
	return in, p, nil
}

// Reach makes another server a member, at an address "host:port". From then on it is dialed, and may open a stream. If it is a member already,
// the address changes, and packets that wait for the server stay. An empty address means that the server is no member any more: see
// [paxos.ReachTransport].
//
// At most 2,176 other members are known at a time. One more is logged, and not reached. Reach waits for nothing.
func (t *Transport) Reach(id paxos.ServerID, address string) {
	if id == 0 || id == t.config.ID {
		return
	}
	const most = 512 // more than the bytes of any address
	if len(address) > most {
		address = address[:most]
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	peers := *t.peers.Load()
	p := peers[id]
	switch {
	case t.closed, p == nil && address == "":
	case p != nil && address != "":
		p.sender.move(address)
	case p != nil:
		peers = maps.Clone(peers)
		delete(peers, id)
		t.peers.Store(&peers)
		p.slot.shut(errLeft)
		p.sender.leave()
		t.log.forget(id)
		t.log.info(id, "peer is no member any more")
	case len(peers) >= maxPeers:
		t.log.wrong(0, "peer is not reached: there are too many", "addr", address)
	default:
		peers = maps.Clone(peers)
		p = &other{newSender(&t.common, id, address), newSlot()}
		peers[id] = p
		t.peers.Store(&peers)
		t.log.info(id, "peer is a member now", "addr", address)
		t.all.Go(p.sender.run)
	}
}

// SetTLS replaces Config.TLS, for example when a certificate was renewed: see package tcp/certs. All streams end and are opened anew, which takes
// some milliseconds. The grpc.Server of the host has certificates of its own, and renews them by itself.
//
// c is copied. An error names what is wrong with c; then nothing has changed.
func (t *Transport) SetTLS(c *tls.Config) error {
	if t.config.Plain {
		return errors.New("grpc: set TLS: Config.Plain is true: this Transport has no TLS")
	}
	if err := checkTLS(c); err != nil {
		return fmt.Errorf("grpc: set TLS: %w", err)
	}
	t.tls.Store(c.Clone())
	for _, p := range *t.peers.Load() {
		p.slot.end(errRenewed)
		p.sender.end(errRenewed)
	}
	return nil
}

// Stats returns the counts up to now. They are not all of the same moment.
func (t *Transport) Stats() Stats {
	s := t.counters.stats()
	if c := t.tls.Load(); c != nil {
		for _, pair := range c.Certificates {
			leaf := pair.Leaf
			if leaf == nil && len(pair.Certificate) > 0 {
				leaf, _ = x509.ParseCertificate(pair.Certificate[0])
			}
			if leaf != nil && (s.Expires.IsZero() || leaf.NotAfter.Before(s.Expires)) {
				s.Expires = leaf.NotAfter
			}
		}
	}
	peers := *t.peers.Load()
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		p := peers[id].sender.status()
		p.In = peers[id].slot.occupant() != nil
		if shown := peers[id].slot.shown.Load(); shown != nil {
			p.Expires = *shown
		}
		s.Peers = append(s.Peers, p)
	}
	return s
}

// closeGrace is how long Close waits for goroutines that are in the hands of gRPC and of Config.TLS.
const closeGrace = 5 * time.Second

// Close ends all streams, and returns when the goroutines of the Transport have ended. Packets in the queues are lost. Receive then returns an error
// that wraps [paxos.ErrClosed], and Send does nothing. Close may be called more than once. The grpc.Server of the host goes on, and refuses new
// streams of other servers.
func (t *Transport) Close() error {
	t.once.Do(func() {
		t.changing.Lock()
		t.closed = true
		t.changing.Unlock()
		t.cancel(errClosed)
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
		return errors.New("grpc: close: a goroutine has not ended: a function of Config.TLS or Config.DialOptions has not returned")
	}
	t.log.lines.Wait(time.Second)
	return nil
}
