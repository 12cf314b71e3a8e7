package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// These rules say nothing of a Transport that is no paxos.DrainTransport. They demand no order, as a Transport may reorder.
var drainRules = []transportRule{
	{"Wake signals at first and for each packet", "after Wake there is a signal, and one whenever a packet has come: to drain then is enough", ruleWake},
	{"Drain appends what has come", "Drain keeps what is in the slice already, and appends packets that are the caller's until the next Drain", ruleDrain},
	{"Wake and Drain tell the end", "when the transport is closed there is a signal, and Drain returns an error", ruleDrainEnd},
}

// A drained is a DrainTransport, of which a rule takes packets when a signal has come, and only then.
type drained struct {
	paxos.DrainTransport
	kit  *transportKit
	wake chan struct{}
}

// drained returns the Transport after its first signal; ok is false if it is no DrainTransport.
func (k *transportKit) drained(t paxos.Transport) (d drained, ok bool, err error) {
	d = drained{kit: k, wake: make(chan struct{}, 1)}
	if d.DrainTransport, ok = t.(paxos.DrainTransport); !ok {
		return d, false, nil
	}
	if err := k.returns("Wake", func() { d.Wake(d.wake) }); err != nil {
		return d, true, err
	}
	if !d.signalled(k.timeLimit) {
		return d, true, fmt.Errorf("Wake gave no signal at first in %v", k.timeLimit)
	}
	return d, true, nil
}

// signalled waits for a signal.
func (d drained) signalled(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-d.wake:
		return true
	case <-timer.C:
		return false
	}
}

// drain is Drain, which does not wait.
func (d drained) drain(into []paxos.Packet) (all []paxos.Packet, err error) {
	if late := d.kit.returns("Drain", func() { all, err = d.Drain(into) }); late != nil {
		return nil, late
	}
	return all, err
}

// deliver sends p from there, again and again, until it is drained after a signal. It returns what that Drain appended to into.
func (d drained) deliver(from paxos.Transport, p paxos.Packet, into []paxos.Packet) ([]paxos.Packet, error) {
	end := time.Now().Add(d.kit.timeLimit)
	for wait := resend; time.Now().Before(end); wait *= 2 {
		from.Send(p)
		for d.signalled(min(wait, time.Until(end))) {
			all, err := d.drain(into)
			if err != nil {
				return nil, fmt.Errorf("Drain: %w", err)
			}
			for i := len(into); i < len(all); i++ {
				if all[i].Seq == p.Seq {
					return all, samePacket(p, all[i])
				}
			}
		}
	}
	return nil, fmt.Errorf("packet %d was sent again and again, and no signal led to it in %v", p.Seq, d.kit.timeLimit)
}

func ruleWake(k *transportKit) error {
	ends := k.join(1, 2)
	d, ok, err := k.drained(ends[1])
	for seq := uint64(1); ok && err == nil && seq <= 100; seq++ {
		_, err = d.deliver(ends[0], numberedPacket(1, 2, seq, 3), nil)
	}
	return err
}

func ruleDrain(k *transportKit) error {
	ends := k.join(1, 2)
	d, ok, err := k.drained(ends[1])
	if !ok || err != nil {
		return err
	}
	own := numberedPacket(7, 7, 1000, 2)
	all, err := d.deliver(ends[0], numberedPacket(1, 2, 1, 10), []paxos.Packet{own})
	if err != nil {
		return err
	}
	for seq := uint64(2); seq < 50; seq++ {
		ends[0].Send(numberedPacket(1, 2, seq, 10))
	}
	if err := samePacket(own, all[0]); err != nil {
		return fmt.Errorf("what was in the slice before: %w", err)
	}
	for _, p := range all[1:] {
		if err := samePacket(numberedPacket(1, 2, p.Seq, 10), p); err != nil {
			return fmt.Errorf("before the next Drain others came: %w", err)
		}
	}
	return nil
}

func ruleDrainEnd(k *transportKit) error {
	ends := k.join(1, 2)
	d, ok, err := k.drained(ends[1])
	if !ok || err != nil {
		return err
	}
	if closes, err := k.close(2, ends[1]); !closes || err != nil {
		return err
	}
	if !d.signalled(k.timeLimit) {
		return fmt.Errorf("Close gave no signal in %v", k.timeLimit)
	}
	if _, err := d.drain(nil); err == nil {
		return fmt.Errorf("Drain after Close returned no error")
	}
	return nil
}
