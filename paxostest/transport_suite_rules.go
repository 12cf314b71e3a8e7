package paxostest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// numberedPacket returns a packet that tells by each of its messages that it is number seq.
func numberedPacket(from, to paxos.ServerID, seq uint64, messages int) paxos.Packet {
	p := paxos.Packet{From: from, To: to, Store: 1, Boot: 1, Nonce: 2, Members: 3, Seq: seq}
	for i := range messages {
		p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprintf("job %d", i),
			Ballot: paxos.Ballot{Round: seq, Server: from}, Value: paxos.Value(fmt.Sprintf("value %d of packet %d", i, seq))})
	}
	return p
}

func ruleDelivers(k *transportKit) error {
	ends := k.join(1, 2, 3)
	seq := uint64(0)
	for from := range ends {
		for to := range ends {
			if from == to {
				continue
			}
			for range 3 {
				seq++
				if err := k.sends(ends[from], ends[to], numberedPacket(paxos.ServerID(from+1), paxos.ServerID(to+1), seq, 1)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ruleIntact(k *transportKit) error {
	ends := k.join(1, 2)
	rng := rand.New(rand.NewPCG(1, 2))
	ballot := func() paxos.Ballot {
		switch rng.IntN(4) {
		case 0:
			return paxos.Ballot{}
		case 1:
			return paxos.Ballot{Round: math.MaxUint64, Server: math.MaxUint64}
		}
		return paxos.Ballot{Round: rng.Uint64() >> rng.IntN(64), Server: paxos.ServerID(rng.Uint64() >> rng.IntN(64))}
	}
	text := func() string {
		b := make([]byte, rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	for seq := range uint64(50) {
		number := func() uint64 { return rng.Uint64() >> rng.IntN(64) }
		p := paxos.Packet{From: 1, To: 2, Store: number(), Boot: number(), Nonce: number(), Members: number(), Index: number(), Seq: seq, ToStore: number()}
		if seq == 0 {
			p.Store, p.Boot, p.Nonce, p.Members, p.Index, p.Seq = math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64
			p.ToStore, p.Configuration = math.MaxUint64, math.MaxInt64
		}
		if seq%2 == 0 {
			p.Configuration, p.Complete = max(p.Configuration, seq+1), seq%4 == 0
		}
		for range rng.IntN(20) {
			p.Messages = append(p.Messages, paxos.Message{Kind: paxos.Kind(rng.IntN(256)), Instance: text(), Ballot: ballot(),
				Promised: ballot(), Accepted: ballot(), Value: paxos.Value(text())})
		}
		if err := k.sends(ends[0], ends[1], p); err != nil {
			return err
		}
	}
	return nil
}

func ruleEmpty(k *transportKit) error {
	ends := k.join(1, 2)
	if err := k.sends(ends[0], ends[1], paxos.Packet{From: 1, To: 2, Seq: 1}); err != nil {
		return err
	}
	return k.sends(ends[0], ends[1], paxos.Packet{From: 1, To: 2, Seq: 2, Messages: []paxos.Message{}})
}

// longValue returns n bytes of which no two parts are the same.
func longValue(n int) paxos.Value {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return paxos.Value(b)
}

func ruleLargestValue(k *transportKit) error {
	ends := k.join(1, 2)
	p := paxos.Packet{From: 1, To: 2, Seq: 1, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: strings.Repeat("n", paxos.MaxName),
		Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: math.MaxUint64}, Value: longValue(1 << 20)}}}
	return k.sends(ends[0], ends[1], p)
}

func ruleLargestPacket(k *transportKit) error {
	ends := k.join(1, 2)
	p := paxos.Packet{From: 1, To: 2, Seq: 1}
	value := longValue(64 << 10)
	for size := 0; size+len(value)+128 <= 4<<20; size += len(value) + 128 {
		p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindState, Instance: strings.Repeat("n", 60), Value: value,
			Ballot: paxos.Ballot{Round: uint64(len(p.Messages)), Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}})
	}
	return k.sends(ends[0], ends[1], p)
}

func ruleManyMessages(k *transportKit) error {
	ends := k.join(1, 2)
	return k.sends(ends[0], ends[1], numberedPacket(1, 2, 1, 20000))
}

func ruleFrom(k *transportKit) error {
	ends := k.join(1, 2, 3)
	for seq := uint64(1); seq <= 5; seq++ {
		send := func() {
			for _, from := range []paxos.ServerID{3, 0, 2} {
				ends[0].Send(numberedPacket(from, 2, 1000+seq, 1))
			}
			ends[0].Send(numberedPacket(1, 2, seq, 1))
		}
		// A packet of server 1 arrives as its packet, or not at all.
		_, err := k.until(send, ends[1], func(p paxos.Packet) (bool, error) {
			if p.From != 1 {
				return false, fmt.Errorf("server 1 sent packet %d, and it arrived as from server %d", p.Seq, p.From)
			}
			return p.Seq == seq, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func ruleSendKeepsNothing(k *transportKit) error {
	ends := k.join(1, 2, 3)
	for seq := uint64(1); seq <= 20; seq++ {
		want, lent := numberedPacket(1, 2, seq, 10), numberedPacket(1, 2, seq, 10)
		send := func() {
			for _, to := range []paxos.ServerID{2, 3} {
				lent.To = to
				copy(lent.Messages, numberedPacket(1, to, seq+100*uint64(to-2), 10).Messages)
				ends[0].Send(lent)
			}
			for i := range lent.Messages {
				lent.Messages[i] = paxos.Message{Instance: "the sender's again"}
			}
		}
		got, err := k.until(send, ends[1], func(p paxos.Packet) (bool, error) { return p.Seq == seq, nil })
		if err != nil {
			return err
		}
		if err := samePacket(want, got); err != nil {
			return fmt.Errorf("after Send the messages were overwritten by their owner: %w", err)
		}
	}
	return nil
}

func ruleReceivedIsMine(k *transportKit) error {
	ends := k.join(1, 2, 3)
	// The same slice goes to two servers. A change by one receiver must not reach the other.
	both := numberedPacket(1, 2, 1, 10)
	first, err := k.deliver(ends[0], ends[1], both)
	if err != nil {
		return err
	}
	for i := range first.Messages {
		first.Messages[i] = paxos.Message{Instance: "the first receiver's"}
	}
	both.To = 3
	if err := k.sends(ends[0], ends[2], both); err != nil {
		return fmt.Errorf("another receiver of the same messages overwrote its own: %w", err)
	}
	// It stays as it is while others arrive.
	want := numberedPacket(1, 2, 2, 10)
	held, err := k.deliver(ends[0], ends[1], want)
	if err != nil {
		return err
	}
	for seq := uint64(3); seq < 300; seq++ {
		ends[0].Send(numberedPacket(1, 2, seq, 10))
		ends[2].Send(numberedPacket(3, 2, seq, 10))
	}
	// They have arrived, surely, when something sent after them to another server has.
	if err := k.sends(ends[0], ends[2], numberedPacket(1, 3, 300, 1)); err != nil {
		return err
	}
	if err := samePacket(want, held); err != nil {
		return fmt.Errorf("a packet changed before the next Receive: %w", err)
	}
	_, err = k.receive(ends[1], k.timeLimit, func(p paxos.Packet) bool { return p.Seq > 2 })
	if errors.Is(err, errSilence) {
		return k.sends(ends[0], ends[1], numberedPacket(1, 2, 301, 1)) // all were lost, which is allowed
	}
	return err
}

func ruleSendNeverBlocks(k *transportKit) error {
	ends := k.join(1, 2)
	big := paxos.Packet{From: 1, To: 2, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "job", Value: longValue(64 << 10)}}}
	err := k.returns("one of 3,000 Sends of 64 KiB to a server that does not receive", func() {
		for seq := range uint64(3000) {
			big.Seq = seq
			ends[0].Send(big)
		}
	})
	if err != nil {
		return err
	}
	return k.sends(ends[0], ends[1], numberedPacket(1, 2, 1<<32, 1))
}

func ruleOthersGoOn(k *transportKit) error {
	ends := k.join(1, 2, 3)
	big := paxos.Packet{From: 1, To: 2, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "job", Value: longValue(64 << 10)}}}
	for seq := uint64(1); seq <= 200; seq++ {
		for range 5 {
			ends[0].Send(big) // and server 2 does not receive
		}
		if err := k.sends(ends[0], ends[2], numberedPacket(1, 3, seq, 3)); err != nil {
			return err
		}
	}
	return nil
}

func ruleUnknown(k *transportKit) error {
	ends := k.join(1, 2)
	err := k.returns("a Send to nobody", func() {
		for _, to := range []paxos.ServerID{0, 1, 99, math.MaxUint64} {
			for seq := range uint64(100) {
				ends[0].Send(numberedPacket(1, to, 1000+seq, 3))
			}
		}
	})
	if err != nil {
		return err
	}
	seq := uint64(0)
	send := func() {
		ends[0].Send(numberedPacket(1, 99, 1000, 1))
		seq++
		ends[0].Send(numberedPacket(1, 2, seq, 1))
	}
	_, err = k.until(send, ends[1], func(p paxos.Packet) (bool, error) {
		if p.To != 2 || p.Seq >= 1000 {
			return false, fmt.Errorf("server 2 received packet %d for server %d", p.Seq, p.To)
		}
		return p.Seq > 1, nil
	})
	return err
}

func ruleCancelled(k *transportKit) error {
	ends := k.join(1, 2)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	end := func(what string, ctx context.Context) (err error) {
		returned := k.returns(what, func() { _, err = ends[1].Receive(ctx) })
		if returned != nil {
			return returned
		}
		if err == nil {
			return fmt.Errorf("%s returned no error", what)
		}
		return nil
	}
	if err := end("Receive with a context that has ended", ctx); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), resend)
	defer cancel()
	if err := end("Receive with a context that ends", ctx); err != nil {
		return err
	}
	return k.sends(ends[0], ends[1], numberedPacket(1, 2, 1, 1))
}

func ruleClosed(k *transportKit) error {
	ends := k.join(1, 2)
	if err := k.sends(ends[0], ends[1], numberedPacket(1, 2, 1, 1)); err != nil {
		return err
	}
	errs := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for {
			if _, err := ends[1].Receive(ctx); err != nil {
				errs <- err
				return
			}
		}
	}()
	ok, err := k.close(2, ends[1])
	if !ok {
		cancel()
		<-errs
		return nil // it can't be closed
	}
	if err != nil {
		return err
	}
	timer := time.NewTimer(k.timeLimit)
	defer timer.Stop()
	select {
	case <-errs:
	case <-timer.C:
		return fmt.Errorf("Receive had not returned %v after Close", k.timeLimit)
	}
	return k.returns("Send, Receive or Close after Close", func() {
		ends[1].Send(numberedPacket(2, 1, 1, 1))
		ends[0].Send(numberedPacket(1, 2, 2, 1))
		ends[1].Receive(context.Background())
		k.close(2, ends[1])
	})
}

// ruleID says nothing of a Transport that has no ID.
func ruleID(k *transportKit) error {
	ids := []paxos.ServerID{2, 1, 3}
	for i, end := range k.join(ids...) {
		if t, ok := end.(paxos.IDTransport); ok && t.ID() != ids[i] {
			return fmt.Errorf("ID of the Transport of server %d: %d", ids[i], t.ID())
		}
	}
	return nil
}

func ruleRestart(k *transportKit) error {
	ends := k.join(1, 2, 3)
	for seq := uint64(1); seq <= 3; seq++ {
		for _, p := range []paxos.Packet{numberedPacket(1, 2, 10*seq, 1), numberedPacket(2, 3, 10*seq, 1)} {
			if err := k.sends(ends[p.From-1], ends[p.To-1], p); err != nil {
				return err
			}
		}
		if _, err := k.close(2, ends[1]); err != nil {
			return err
		}
		ends[0].Send(numberedPacket(1, 2, 10*seq+1, 1)) // nobody is there
		ends[1] = k.join(2)[0]
		for _, p := range []paxos.Packet{numberedPacket(1, 2, 10*seq+2, 1), numberedPacket(2, 1, 10*seq+2, 1)} {
			if err := k.sends(ends[p.From-1], ends[p.To-1], p); err != nil {
				return fmt.Errorf("after restart %d of server 2: %w", seq, err)
			}
		}
	}
	return nil
}

func ruleConcurrent(k *transportKit) error {
	const goroutines, each = 8, 200
	ends := k.join(1, 2, 3)
	var seen [2][goroutines * each]bool // by sender
	var missing atomic.Int64
	missing.Store(2 * goroutines * each)
	var all sync.WaitGroup
	done := make(chan struct{})
	defer all.Wait()
	defer close(done)
	var delivered [2][goroutines * each]atomic.Bool
	for from := range 2 {
		for g := range goroutines {
			all.Go(func() {
				// Each goroutine sends its packets again until they have arrived.
				for missing.Load() > 0 {
					for i := range each {
						if n := g*each + i; !delivered[from][n].Load() {
							ends[from].Send(numberedPacket(paxos.ServerID(from+1), 3, uint64(n), 1+n%7))
						}
					}
					select {
					case <-done:
						return
					case <-time.After(resend):
					}
				}
			})
		}
	}
	end := time.Now().Add(k.timeLimit)
	for missing.Load() > 0 {
		p, err := k.receive(ends[2], time.Until(end), nil)
		if err != nil {
			return fmt.Errorf("%d of %d packets are missing: %w", missing.Load(), 2*goroutines*each, err)
		}
		if p.From < 1 || p.From > 2 || p.Seq >= goroutines*each {
			return fmt.Errorf("nobody sent packet %d of server %d", p.Seq, p.From)
		}
		if err := samePacket(numberedPacket(p.From, 3, p.Seq, 1+int(p.Seq)%7), p); err != nil {
			return err
		}
		if !seen[p.From-1][p.Seq] {
			seen[p.From-1][p.Seq] = true
			delivered[p.From-1][p.Seq].Store(true)
			missing.Add(-1)
		}
	}
	return nil
}
