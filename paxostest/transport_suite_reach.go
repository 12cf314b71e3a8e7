package paxostest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/singledecree/paxos"
)

// TestReach checks that a Transport does what [paxos.ReachTransport] says, each rule as a test of its own. It is for a Transport that
// [TestTransport] checks too.
//
// join starts a server that knows no other one. It returns the Transport, and the address at which others reach it. Calls with the same t
// are about one network; each rule has a t and a network of its own. A server that joins again was restarted at another address; its
// former Transport was closed if it is an io.Closer.
//
// join ends in a t.Cleanup what it started. There it must do no harm to close twice. The ids are 1 to 3, and rules name server 4 at an
// address of server 3, and at texts that are no addresses. A rule fails if nothing arrives within 30 s.
func TestReach(t *testing.T, join func(t *testing.T, id paxos.ServerID) (end paxos.ReachTransport, address string)) {
	for _, rule := range reachRules {
		rule.run(t, 30*time.Second, func(t *testing.T, ids ...paxos.ServerID) (ends []paxos.Transport) {
			for _, id := range ids {
				end, address := join(t, id)
				ends = append(ends, reached{end, id, address})
			}
			return ends
		})
	}
}

var reachRules = []transportRule{
	{"Reach lets packets through", "before Reach nothing goes to a server, and nothing is taken from one; after it packets arrive", ruleReach},
	{"Reach moves a server", "after Reach with another address, packets arrive there", ruleReachMoves},
	{"an empty address ends it", "after Reach with an empty address nothing goes to the server, and nothing is received from it, until the next Reach", ruleReachEnds},
	{"a text that is no address harms nobody", "Reach with such a text returns, all others get their packets, and the next Reach mends it", ruleReachBad},
	{"Reach is safe for concurrent use", "Reach in many goroutines, beside Send and Receive, loses nothing that is sent later", ruleReachConcurrent},
	{"Reach ends with Close", "Reach beside Close and after it returns and does nothing", ruleReachClosed},
}

// A reached is a server of a rule.
type reached struct {
	paxos.ReachTransport
	id      paxos.ServerID
	address string
}

// reached joins servers that know no other one.
func (k *transportKit) reached(ids ...paxos.ServerID) (all []reached) {
	for _, end := range k.join(ids...) {
		all = append(all, end.(reached))
	}
	return all
}

// meet makes two servers known to each other.
func meet(a, b reached) {
	a.Reach(b.id, b.address)
	b.Reach(a.id, a.address)
}

// reaches checks that packets of these numbers arrive, both ways.
func (k *transportKit) reaches(a, b reached, seq uint64) error {
	if err := k.sends(a, b, numberedPacket(a.id, b.id, seq, 2)); err != nil {
		return err
	}
	return k.sends(b, a, numberedPacket(b.id, a.id, seq, 2))
}

// silent checks that no packet of a with that number comes to b, though it is sent again and again. It looks until some packets of c have
// come to b. These have the numbers from seq+1 on, and c and b know each other.
func (k *transportKit) silent(a, b, c reached, seq uint64) error {
	wrong := func(p paxos.Packet) bool { return p.From == a.id && p.Seq == seq }
	for n := range uint64(5) {
		beside := numberedPacket(c.id, b.id, seq+n+1, 1)
		send := func() {
			a.Send(numberedPacket(a.id, b.id, seq, 1))
			c.Send(beside)
		}
		_, err := k.until(send, b, func(p paxos.Packet) (bool, error) {
			if wrong(p) {
				return false, fmt.Errorf("a packet of server %d has come to server %d", a.id, b.id)
			}
			return p.From == c.id && p.Seq == beside.Seq, nil
		})
		if err != nil {
			return err
		}
	}
	if _, err := k.receive(b, resend, wrong); !errors.Is(err, errSilence) {
		return fmt.Errorf("a packet of server %d has come to server %d, a little later: %v", a.id, b.id, err)
	}
	return nil
}

func ruleReach(k *transportKit) error {
	all := k.reached(1, 2, 3)
	a, b, c := all[0], all[1], all[2]
	meet(b, c)
	if err := k.silent(a, b, c, 1000); err != nil {
		return fmt.Errorf("neither has heard of the other: %w", err)
	}
	b.Reach(a.id, a.address)
	if err := k.silent(a, b, c, 2000); err != nil {
		return fmt.Errorf("the sender has not heard of the receiver: %w", err)
	}
	a.Reach(c.id, c.address)
	if err := k.silent(a, c, b, 3000); err != nil {
		return fmt.Errorf("the receiver has not heard of the sender: %w", err)
	}
	for seq := range uint64(3) { // the same call again changes nothing
		meet(a, b)
		meet(a, c)
		a.Reach(a.id, "not an address of this server")
		for _, other := range []reached{b, c} {
			if err := k.reaches(a, other, seq+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func ruleReachMoves(k *transportKit) error {
	all := k.reached(1, 2)
	a, b := all[0], all[1]
	meet(a, b)
	for seq := uint64(1); seq <= 3; seq++ {
		if err := k.reaches(a, b, 10*seq); err != nil {
			return err
		}
		if _, err := k.close(b.id, b.ReachTransport); err != nil {
			return err
		}
		b = k.reached(2)[0]
		meet(a, b)
		if err := k.reaches(a, b, 10*seq+1); err != nil {
			return fmt.Errorf("server 2 has moved, for the %d. time: %w", seq, err)
		}
	}
	return nil
}

func ruleReachEnds(k *transportKit) error {
	all := k.reached(1, 2, 3)
	a, b, c := all[0], all[1], all[2]
	meet(a, b)
	meet(b, c)
	for seq := uint64(1000); seq <= 3000; seq += 1000 {
		if err := k.reaches(a, b, seq); err != nil {
			return err
		}
		a.Reach(b.id, "")
		if err := k.silent(a, b, c, seq+100); err != nil {
			return fmt.Errorf("the receiver is no member for the sender: %w", err)
		}
		meet(a, b)
		if err := k.reaches(a, b, seq+200); err != nil {
			return fmt.Errorf("the receiver is a member again: %w", err)
		}
		b.Reach(a.id, "")
		if err := k.silent(a, b, c, seq+300); err != nil {
			return fmt.Errorf("the sender is no member for the receiver: %w", err)
		}
		meet(a, b)
	}
	return k.reaches(a, b, 1)
}

func ruleReachBad(k *transportKit) error {
	all := k.reached(1, 2, 3)
	a, b, c := all[0], all[1], all[2]
	meet(a, c)
	seq := uint64(0)
	for _, bad := range []string{"?", "\x00", "two\n", ":", "//", " " + b.address, b.address + " ", strings.Repeat("x", 255), strings.Repeat("7", 1<<16)} {
		meet(a, b)
		seq++
		if err := k.reaches(a, b, seq); err != nil {
			return err
		}
		err := k.returns(fmt.Sprintf("Reach with %.20q", bad), func() {
			a.Reach(b.id, bad)
			a.Reach(4, bad)
		})
		if err != nil {
			return err
		}
		for range 10 {
			a.Send(numberedPacket(a.id, b.id, 1000, 1))
		}
		if err := k.reaches(a, c, seq); err != nil {
			return fmt.Errorf("after Reach with %.20q for another server: %w", bad, err)
		}
	}
	meet(a, b)
	return k.reaches(a, b, 2000)
}

// hurry starts goroutines that send, and that change which servers a and b know. They end by themselves, or with done.
func hurry(a, b, c reached, done <-chan struct{}) *sync.WaitGroup {
	var all sync.WaitGroup
	change := func(f func(n int)) {
		all.Go(func() {
			for n := range 1000 {
				select {
				case <-done:
					return
				default:
					f(n)
				}
			}
		})
	}
	for range 2 {
		change(func(n int) { a.Reach(b.id, []string{b.address, "", "?", c.address}[n%4]) })
		change(func(n int) { a.Reach(4, []string{c.address, ""}[n%2]) })
		change(func(n int) { b.Reach(a.id, []string{a.address, ""}[n%2]) })
		change(func(n int) { a.Send(numberedPacket(a.id, []paxos.ServerID{b.id, c.id, 4}[n%3], 1<<40, 3)) })
		change(func(int) { b.Send(numberedPacket(b.id, a.id, 1<<40, 3)) })
	}
	return &all
}

func ruleReachConcurrent(k *transportKit) error {
	all := k.reached(1, 2, 3)
	a, b, c := all[0], all[1], all[2]
	meet(a, c)
	done := make(chan struct{})
	defer close(done)
	changes := hurry(a, b, c, done)
	for seq := range uint64(20) { // a server that stays a member is heard all the time
		if err := k.sends(c, a, numberedPacket(c.id, a.id, seq, 1)); err != nil {
			return err
		}
	}
	if err := k.returns("Reach in many goroutines", changes.Wait); err != nil {
		return err
	}
	meet(a, b)
	a.Reach(4, "")
	if err := k.reaches(a, b, 100); err != nil {
		return err
	}
	return k.reaches(a, c, 101)
}

func ruleReachClosed(k *transportKit) error {
	all := k.reached(1, 2, 3)
	a, b, c := all[0], all[1], all[2]
	meet(a, b)
	if err := k.reaches(a, b, 1); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	changes := hurry(a, b, c, done)
	if closes, err := k.close(a.id, a.ReachTransport); !closes || err != nil {
		return err
	}
	err := k.returns("Reach after Close", func() {
		changes.Wait()
		for _, address := range []string{"", "?", b.address} {
			for id := range paxos.ServerID(5) {
				a.Reach(id, address)
			}
		}
		a.Send(numberedPacket(a.id, b.id, 2, 1))
	})
	if err != nil {
		return err
	}
	meet(b, c)
	b.Reach(a.id, a.address)
	if err := k.silent(a, b, c, 1000); err != nil {
		return fmt.Errorf("server 1 was closed: %w", err)
	}
	return nil
}
