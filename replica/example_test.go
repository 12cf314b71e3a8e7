package replica_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log"
	"runtime"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/replica"
)

// A host runs the Replica of one server in one loop. It suits a storage that saves at once, and a network within the process. For
// others the loop starts goroutines, and hands in what they bring.
type host struct {
	replica   *replica.Replica // the loop's alone, as all down to the blank line
	storage   paxos.Storage
	transport paxos.DrainTransport
	origin    time.Time // of the Replica's time
	calls     map[replica.CallID]*call
	begun     replica.CallID
	out       replica.Output

	wake   chan struct{} // holds a signal when packets or calls have come, or Tick is due
	ended  chan struct{} // closed when the loop has ended
	spares sync.Pool     // of *call

	mu     sync.Mutex // guards what is below
	begin  []*call    // that the loop has not taken yet
	spare  []*call    // its room, when the loop is done with it
	closed bool
}

// A call is a caller who waits.
type call struct {
	instance string
	value    paxos.Value
	done     chan replica.Done // holds one
}

// start returns the running host of server id, on a formatted storage.
func start(id paxos.ServerID, members paxos.Members, storage paxos.Storage, transport paxos.Transport) (*host, error) {
	network, ok := transport.(paxos.DrainTransport)
	if !ok {
		return nil, fmt.Errorf("%T is no DrainTransport", transport)
	}
	state, err := storage.Server()
	if err != nil {
		return nil, err
	}
	if err := paxos.CheckLast(storage, state.Last); err != nil {
		return nil, err
	}
	var nonce [8]byte
	rand.Read(nonce[:])
	c := replica.Config{ID: id, State: state, Members: members, Nonce: binary.LittleEndian.Uint64(nonce[:]), Seed: uint64(id)}
	if c.Forgotten, err = replica.ReadForgotten(storage, state); err != nil {
		return nil, err
	}
	c.Open = []string{} // nil would say that they are not told
	for name, err := range storage.Undecided() {
		if err != nil {
			return nil, err
		}
		if c.Open = append(c.Open, name); len(c.Open) == replica.Backlog(c.Limits) {
			break
		}
	}
	r, err := replica.New(0, c)
	if err != nil {
		return nil, err
	}
	h := &host{replica: r, storage: storage, transport: network, origin: time.Now(),
		calls: map[replica.CallID]*call{}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go h.loop()
	return h, nil
}

// loop hands in what has come, carries out what comes of it, and waits for more.
func (h *host) loop() {
	defer close(h.ended)
	h.transport.Wake(h.wake) // which signals at first: the first Save is to be done
	timer := time.AfterFunc(time.Hour, h.signal)
	defer timer.Stop()
	h.replica.DelayNotices(true)
	var packets []paxos.Packet
	var armed time.Duration // when the timer is due
	for range h.wake {
		begin, err := h.look()
		now := time.Since(h.origin)
		for _, c := range begin {
			h.begun++
			h.calls[h.begun] = c
			h.replica.Propose(now, h.begun, c.instance, c.value)
		}
		if err == nil {
			packets, err = h.transport.Drain(packets[:0])
		}
		for _, p := range packets {
			h.replica.Receive(now, p)
		}
		if at, ok := h.replica.Next(); ok && at <= now {
			h.replica.Tick(now)
		}
		if err == nil {
			err = h.carryOut(now)
		}
		if err == nil {
			runtime.Gosched() // let callers call again: their messages take the notices along
			if h.replica.HasNotices() && len(h.wake) == 0 {
				h.replica.DelayNotices(false)
				err = h.carryOut(now)
				h.replica.DelayNotices(true)
			}
		}
		if err != nil {
			h.stop(now, err)
			return
		}
		if at, ok := h.replica.Next(); ok && (armed <= now || at < armed) { // a signal that comes too early does no harm
			armed = at
			timer.Reset(at - now)
		}
	}
}

// look returns the calls that have come, and ErrClosed if the host is to stop.
func (h *host) look() (begin []*call, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	begin, h.begin, h.spare = h.begin, h.spare[:0], h.begin
	if h.closed {
		err = paxos.ErrClosed
	}
	return begin, err
}

// carryOut does what the Replica wants done, until it wants nothing. The order within an Output is free: the
// Replica keeps back what depends on a Save until Saved.
func (h *host) carryOut(now time.Duration) error {
	for out := &h.out; h.replica.Take(out); {
		for _, p := range out.Send {
			h.transport.Send(p)
		}
		for _, d := range out.Done {
			h.calls[d.ID].done <- d
			delete(h.calls, d.ID)
		}
		for _, fault := range out.Faults {
			log.Print(fault) // some server broke the protocol: an operator has to know
		}
		if out.Stop != nil {
			return out.Stop
		}
		for _, name := range out.Load {
			rec, err := h.storage.Load(name)
			if err != nil {
				return err
			}
			h.replica.Loaded(now, name, rec)
		}
		for _, ask := range out.List {
			page, err := replica.List(h.storage, ask)
			if err != nil {
				return err
			}
			h.replica.Listed(now, ask.ID, page)
		}
		if out.Save != nil {
			if err := h.storage.Save(*out.Save); err != nil {
				return err // never Saved: the storage is dead, and this Replica with it
			}
			h.replica.Saved(now)
		}
	}
	return nil
}

// stop ends all calls with err. After a Close it first sends what waits, and at last saves what nobody waited for.
func (h *host) stop(now time.Duration, err error) {
	h.mu.Lock()
	h.closed = true
	left := h.begin
	h.mu.Unlock()
	if err == paxos.ErrClosed {
		var last replica.Output
		h.replica.Flush(&last)
		for _, p := range last.Send {
			h.transport.Send(p)
		}
	}
	h.replica.Stop(now, err)
	h.carryOut(now) // the ends of the calls
	for _, c := range left {
		c.done <- replica.Done{Err: err}
	}
	if b := h.replica.LastBatch(); b != nil && err == paxos.ErrClosed {
		if err := h.storage.Save(*b); err != nil {
			log.Print(err) // nothing depends on this Save
		}
	}
}

func (h *host) signal() {
	select {
	case h.wake <- struct{}{}:
	default: // there is one already
	}
}

// Propose has the cluster decide the instance, and returns what was chosen. (A host with contexts calls Replica.Cancel.)
func (h *host) Propose(instance string, v paxos.Value) (paxos.Decision, error) {
	c, _ := h.spares.Get().(*call)
	if c == nil {
		c = &call{done: make(chan replica.Done, 1)}
	}
	defer h.spares.Put(c)
	c.instance, c.value = instance, v
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return paxos.Decision{}, paxos.ErrClosed
	}
	h.begin = append(h.begin, c)
	h.mu.Unlock()
	h.signal()
	d := <-c.done
	return d.Decision, d.Err
}

// Close stops the host, and returns when its storage is not used any more.
func (h *host) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.signal()
	<-h.ended
}

// Three servers in one process, each with a host of its own in place of a Node, decide.
func Example() {
	members := paxos.Members{Cluster: "shop", Acceptors: []paxos.ServerID{1, 2, 3}}
	network := memory.NewNetwork()
	var hosts []*host
	for _, id := range members.Acceptors {
		storage := memory.NewStorage()
		if err := paxos.Format(storage, id, members); err != nil { // once in a server's life
			log.Fatal(err)
		}
		h, err := start(id, members, storage, network.Join(id))
		if err != nil {
			log.Fatal(err)
		}
		defer h.Close()
		hosts = append(hosts, h)
	}
	first, err := hosts[0].Propose("lunch", "burger")
	fmt.Println(first.Value, err)
	late, err := hosts[1].Propose("lunch", "pizza") // too late: the answer is what was chosen
	fmt.Println(late.Value, err)
	// Output:
	// burger <nil>
	// burger <nil>
}
