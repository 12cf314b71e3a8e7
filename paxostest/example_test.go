package paxostest_test

import (
	"fmt"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// The accept of server 1 reaches server 3 alone, then server 1 fails. The others finish what it began.
func ExampleSim() {
	s := paxostest.NewSim(paxostest.SimConfig{Servers: 3})
	s.Drop(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	s.Propose(1, "lunch", "burger")
	s.Until("server 3 has voted", func() bool {
		return s.Sent(paxostest.Match{From: 3, Kind: paxos.KindAccepted}) > 0
	})
	s.Crash(1)
	s.Run()

	pizza := s.Propose(2, "lunch", "pizza")
	s.Run()
	fmt.Println(pizza)
	// Output: propose "pizza" on server 2 returned "burger", chosen in ballot 2.2
}

// The seed decides the faults, and the calls during them.
func ExampleChaos() {
	for seed := range uint64(100) {
		c := paxostest.NewChaos(seed)
		if r := c.Run(false); r.Err != nil {
			short := c.Shrink() // as little of it as still fails
			r = short.Run(true)
			fmt.Println(short, r.Err, r.Sim.Draw())
		}
	}
	fmt.Println("nothing was broken")
	// Output: nothing was broken
}
