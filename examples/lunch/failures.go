package main

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

func oneVoteMissing(st *stage) {
	st.open(paxostest.SimConfig{})
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 3, Kind: paxos.KindPromise})
	st.Crash(3)
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expect("2 prepare, 2 promise, 2 accept, 1 accepted and 2 chosen were sent", st.sentExactly(map[paxos.Kind]int{
		paxos.KindPrepare: 2, paxos.KindPromise: 2, paxos.KindAccept: 2, paxos.KindAccepted: 1, paxos.KindChosen: 2,
	}))
	st.expectNoneToSelf()
}

func noVotes(st *stage) {
	st.open(paxostest.SimConfig{})
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 3, Kind: paxos.KindPromise})
	st.Crash(2)
	st.Crash(3)
	st.RunFor(700 * time.Millisecond)
	st.expect("after 700 ms the call still waits", !burger.Ended)
	st.Cancel(burger)

	st.expectSilent(burger, "accept", 2, 3)
	st.expectUndecided()
	st.expectNoneToSelf()
}

func onePromiseMissing(st *stage) {
	st.open(paxostest.SimConfig{})
	st.Crash(3)
	burger := st.Propose(1, lunch, "burger")
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expect("2 prepare, 1 promise, 2 accept, 1 accepted and 2 chosen were sent", st.sentExactly(map[paxos.Kind]int{
		paxos.KindPrepare: 2, paxos.KindPromise: 1, paxos.KindAccept: 2, paxos.KindAccepted: 1, paxos.KindChosen: 2,
	}))
}

func noPromises(st *stage) {
	st.open(paxostest.SimConfig{})
	st.Drop(paxostest.Match{To: 1, Kind: paxos.KindPromise})
	burger := st.Propose(1, lunch, "burger")
	st.RunFor(500 * time.Millisecond)
	st.expect("after 500 ms the call still waits", !burger.Ended)
	st.Cancel(burger)

	st.expect("nobody was asked for a vote", st.Sent(paxostest.Match{Kind: paxos.KindAccept}) == 0)
	st.expectSilent(burger, "prepare", 2, 3)
	st.expectUndecided()
}

func takenOver(st *stage) {
	st.open(paxostest.SimConfig{})
	first := st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{To: 1, Kind: paxos.KindPromise})
	st.Crash(1)
	st.RunFor(500 * time.Millisecond)
	st.expect("after 500 ms nobody has been asked for a vote", st.Sent(paxostest.Match{Kind: paxos.KindAccept}) == 0)
	st.Run()
	st.expect("servers 2 and 3 have learned burger, and nobody called them", st.calls(2)+st.calls(3) == 0 && st.knows(2) && st.knows(3))
	st.Restart(1)
	st.Run()

	st.expect("the first call died with its server", first.Ended && first.Err != nil)
	st.expectAll("burger")
}

func nobodyHeard(st *stage) {
	st.open(paxostest.SimConfig{Limits: paxos.Limits{MaxHint: 5}})
	st.Drop(paxostest.Match{From: 1, Kind: paxos.KindAccept})
	first := st.Propose(1, lunch, "burger")
	st.untilSent(2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	st.RunFor(0)
	st.Crash(1)
	st.RunFor(5 * time.Second)
	st.expect("nothing is decided as long as nobody proposes", st.Sent(paxostest.Match{Kind: paxos.KindChosen}) == 0)
	st.Clear()
	pizza := st.Propose(2, lunch, "pizza")
	st.untilEnded(pizza)
	st.RunFor(20 * time.Millisecond)
	st.Restart(1)
	again := st.Propose(1, lunch, "burger")
	st.Run()

	st.expect("the first call died with its server", first.Ended && first.Err != nil)
	st.expect(pizza.String(), pizza.Ended && pizza.Decision.Value == "pizza")
	st.expect(again.String(), again.Ended && again.Decision.Value == "pizza")
	st.expectAll("pizza")
}

func heardOfIt(st *stage) {
	st.open(paxostest.SimConfig{})
	st.Drop(paxostest.Match{From: 1, Kind: paxos.KindAccept})
	st.Propose(1, lunch, "burger")
	st.untilSent(2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	st.RunFor(0)
	st.Crash(1)
	st.Run()

	st.expect("no acceptor got an accept from server 1", st.Arrived(paxostest.Match{From: 1, Kind: paxos.KindAccept}) == 0)
	st.expect("servers 2 and 3 have learned burger, and nobody called them", st.calls(2)+st.calls(3) == 0 && st.knows(2) && st.knows(3))
}

func carriedOn(st *stage) {
	st.open(paxostest.SimConfig{Servers: 5})
	for _, to := range []paxos.ServerID{2, 3, 5} {
		st.Drop(paxostest.Match{From: 1, To: to, Kind: paxos.KindAccept})
	}
	st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 4, Kind: paxos.KindAccepted})
	st.Crash(1)
	st.RunFor(68 * time.Millisecond)
	kimbap := st.Propose(2, lunch, "kimbap")
	st.Run()

	first := paxostest.Match{Kind: paxos.KindAccepted, Ballot: paxos.Ballot{Round: 1, Server: 1}}
	st.expect("of the other four, one had voted for burger, in 1.1", st.Sent(first) == 1)
	st.expectResult(kimbap, "burger", paxos.Ballot{Round: 2, Server: 2})
}

func voteCarriedOn(st *stage) {
	st.open(paxostest.SimConfig{Servers: 5})
	for _, to := range []paxos.ServerID{2, 3, 5} {
		st.Drop(paxostest.Match{From: 1, To: to, Kind: paxos.KindAccept})
	}
	st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 4, Kind: paxos.KindAccepted})
	st.Crash(1)
	st.Run()

	calls, know := 0, 0
	for id := paxos.ServerID(2); id <= 5; id++ {
		calls += st.calls(id)
		if st.knows(id) {
			know++
		}
	}
	st.expect("servers 2 to 5 have learned burger, and nobody called them", calls == 0 && know == 4)
}

// calls counts the calls made on a server.
func (st *stage) calls(id paxos.ServerID) (n int) {
	for _, e := range st.Log() {
		if e.Kind == paxos.EventCall && e.Server == id {
			n++
		}
	}
	return n
}

// knows reports whether a server has learned burger.
func (st *stage) knows(id paxos.ServerID) bool {
	d, ok := st.Learned(id, lunch)
	return ok && d.Value == "burger"
}

func burgerOrPizza(st *stage) {
	st.open(paxostest.SimConfig{})
	first, second := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 2}
	st.Drop(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	st.Propose(1, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 3, Kind: paxos.KindAccepted, Ballot: first})
	st.Crash(1)
	st.RunFor(68 * time.Millisecond)
	pizza := st.Propose(2, lunch, "pizza")
	st.Run()

	reported := false
	for _, e := range st.Log() {
		m := paxos.Message{Kind: paxos.KindPromise, Instance: lunch, Ballot: second, Accepted: first, Value: "burger"}
		reported = reported || e.Kind == paxos.EventReceive && e.Message == m
	}
	st.expect("the promise of 2.2 returned (1.1 burger)", reported)
	st.expect("the accept of 2.2 asked for burger", st.asked(second) == "burger")
	st.expectResult(pizza, "burger", second)
	st.expect("burger is decided on the disks of servers 2 and 3, under ballot 2.2", st.decided(2, second) && st.decided(3, second))
}

// asked returns the value for which a ballot asked votes.
func (st *stage) asked(b paxos.Ballot) (v paxos.Value) {
	for _, e := range st.Log() {
		if e.Kind == paxos.EventSend && e.Message.Kind == paxos.KindAccept && e.Message.Ballot == b {
			v = e.Message.Value
		}
	}
	return v
}

// decided reports whether burger is decided on the disk of a server, in ballot b.
func (st *stage) decided(id paxos.ServerID, b paxos.Ballot) bool {
	rec := st.Stored(id, lunch)
	return rec.Chosen && rec.Acceptor.Value == "burger" && rec.Acceptor.Accepted == b
}
