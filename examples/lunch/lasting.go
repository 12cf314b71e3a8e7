package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// lasting returns the scenarios in which the cluster outlives its servers and its names: a change of members, forgetting, and a server that stands.
func lasting() []scenario {
	return []scenario{
		{"more", "replaced", "a server is replaced while a burger is half chosen", `
Servers 2 and 3 vote for burger, and server 3 is lost for good. Nobody left knows that a majority has voted. Server 4 is a
learner, without a vote. Server 2 is asked to put server 4 in the place of server 3. The old three decide that, as $config/1. A
server with that decision on its disk is sealed: it refuses the ballots of before. The ballots of the new three begin with c1.

Now server 1 proposes pizza. Look at its accept. Servers 1 and 4 have promised, and are a majority of the new three, without a
vote. Server 1 still waits: until the change is settled it needs a majority of the old three, too. So server 2 tells it of
burger.

Look at server 4. The new three ask each other for their undecided instances, by scan and query, and take them over. So
server 4 has burger before anybody asks it for a vote. A server that has everything is complete. When a majority of the new
three is complete, the change is settled, and server 1 may die, too. Pulls and their answers are not drawn.`, replaced},
		{"more", "forgotten", "a lunch is forgotten, and never decided again", `
Server 3 asks for votes for pizza, and crashes; one of its accepts is late. The others decide burger. Lunch is over, so server 1
is asked to forget all names that begin with lunch, from "lunch" to below "lunci". Servers 1 and 2, a majority, have that on
disk.

Look at the late accept, from the earlier life of server 3. Server 2 has forgotten the decision, and the promise that stood in
the way of pizza. But it has the range on disk, and refuses for ever. Server 3 came back with its own vote for pizza. The
refusal makes it forget lunch, too. A read says that lunch is forgotten.`, forgotten},
		{"more", "standing", "one round trip for any name, and nobody to wait for", `
Server 3 proposes soup for the starter. Server 2 has voted for it, and server 3 does not know that yet. Now server 1 asks the others to
promise ballot 1.1 for all names at once: stand. They save that promise. Each answer lists the names with a vote: the starter, and
nothing else.

Look at lunch. No server has a vote for it, so server 1 begins with the accept. Burger is decided after one round trip and one
save. But the starter is in a list. There server 1 has to ask first, with a ballot above, and finishes with soup.

Server 1 dies. Nobody waits for it, and nobody is elected: server 3 proposes kimbap for dinner with a ballot of its own.`, standing},
		{"more", "forwarded", "a proposal is handed to the server that stands, and that server dies", `
Server 3 proposes soup for the starter. That takes two round trips. Then server 1 stands, and burger for lunch takes it one.

Server 3 knows now that server 1 stands, and is at work. So it hands pizza for dinner to server 1: forward. Server 1 gets pizza decided in
its standing ballot. Server 3 votes like the others, and hears of the decision like the others.

Server 3 forwards the kimbap for supper, too, and server 1 dies. Server 3 waits a little longer than pizza took. Then it begins a ballot of its
own with the same kimbap: a hedge. After that it forwards nothing to the silent server: the tea takes two round trips, as ever.`, handedOver},
	}
}

func replaced(st *stage) {
	st.open(paxostest.SimConfig{Learners: 1, Timing: paxos.Timing{Pull: 100 * time.Millisecond}})
	st.omit = []paxos.Kind{paxos.KindPull, paxos.KindNames, paxos.KindDecisions}
	before, after := paxos.Ballot{Round: 1, Server: 3}, paxos.Ballot{Round: paxos.Base(1).Round + 1, Server: 1}
	st.Drop(paxostest.Match{From: 3, To: 1, Kind: paxos.KindAccept})
	st.Propose(3, lunch, "burger")
	st.untilSent(1, paxostest.Match{From: 2, Kind: paxos.KindAccepted, Ballot: before})
	st.Crash(3)
	st.expect("servers 2 and 3 have voted for burger, and nobody has learned it", st.voted(2, before) && st.voted(3, before) && !st.everLearned("burger"))
	st.RunFor(18 * time.Millisecond)

	st.Delay(paxostest.Match{From: 2, To: 1, Kind: paxos.KindPromise, Ballot: after}, 23*time.Millisecond)
	change := st.Change(2, paxos.Members{Acceptors: []paxos.ServerID{1, 2, 4}})
	st.Until("server 1 is sealed", func() bool { return st.sealed(1) })
	st.RunFor(2 * time.Millisecond)
	pizza := st.Propose(1, lunch, "pizza")
	st.untilArrived(1, paxostest.Match{From: 4, To: 1, Kind: paxos.KindPromise, Ballot: after})
	st.RunFor(20 * time.Millisecond)
	waits := st.Sent(paxostest.Match{Kind: paxos.KindAccept, Ballot: after}) == 0
	took := st.voted(4, before)
	st.untilEnded(pizza)
	settled := st.Settled(2)
	st.untilEnded(settled)
	st.Until("server 4 is complete", func() bool { return st.StoredState(4).Import == paxos.ImportComplete })
	st.RunFor(12 * time.Millisecond)
	st.Crash(1)
	kimbap := st.Propose(4, lunch, "kimbap")
	st.RunFor(10 * time.Millisecond)

	st.expect(change.String(), change.Ended && change.Err == nil && st.sealed(1) && st.sealed(2) && st.sealed(4))
	st.expect("servers 1, 2 and 4 each saved that decision and their new configuration in one Save", st.seals() == 3)
	st.expect("server 4 promised c1:1.1 without a vote", st.promisedEmpty(4, after))
	st.expect("server 1 asked nobody for a vote until server 2 had told it of burger", waits && st.asked(after) == "burger")
	st.expect("before anybody asked server 4 for a vote, it had taken burger over", waits && took)
	st.expectResult(pizza, "burger", after)
	st.expect(settled.String(), settled.Ended && settled.Err == nil)
	st.expect(kimbap.String(), kimbap.Ended && kimbap.Decision == pizza.Decision)
}

// voted reports whether a server has on its disk that burger is accepted in ballot b.
func (st *stage) voted(id paxos.ServerID, b paxos.Ballot) bool {
	a := st.Stored(id, lunch).Acceptor
	return a.Accepted == b && a.Value == "burger"
}

// sealed reports whether configuration 1 is on the disk of a server.
func (st *stage) sealed(id paxos.ServerID) bool {
	rec := st.Stored(id, paxos.ConfigurationName(1))
	return rec.Chosen && string(rec.Acceptor.Value) == st.StoredState(id).Configuration
}

// promisedEmpty reports whether a server sent a promise of b that reports no vote.
func (st *stage) promisedEmpty(id paxos.ServerID, b paxos.Ballot) bool {
	return slices.ContainsFunc(st.Log(), func(e paxostest.Entry) bool {
		m := e.Message
		return e.Kind == paxos.EventSend && e.Server == id && m.Kind == paxos.KindPromise && m.Ballot == b && m.Accepted.IsZero()
	})
}

// seals counts the Saves that hold both the decision of a configuration and that the server lives under it.
func (st *stage) seals() (n int) {
	for _, e := range st.Log() {
		for _, rec := range e.Records {
			_, ok := paxos.ConfigurationNumber(rec.Instance)
			if ok && rec.Chosen && e.State != nil && e.State.Configuration == string(rec.Acceptor.Value) {
				n++
			}
		}
	}
	return n
}

func forgotten(st *stage) {
	st.open(paxostest.SimConfig{})
	late := paxostest.Match{From: 3, To: 2, Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 3}}
	st.Drop(paxostest.Match{From: 3, To: 1, Kind: paxos.KindAccept})
	st.Hold(late)
	st.Propose(3, lunch, "pizza")
	st.untilSent(1, late)
	st.RunFor(2 * time.Millisecond)
	st.Crash(3)
	st.RunFor(17 * time.Millisecond)
	burger := st.Propose(1, lunch, "burger")
	st.untilEnded(burger)
	st.RunFor(20 * time.Millisecond)
	forget := st.Forget(1, paxos.Prefix(lunch))
	st.untilEnded(forget)
	left := st.remember()
	st.RunFor(7 * time.Millisecond)
	st.Release(late)
	st.RunFor(7 * time.Millisecond)
	st.Restart(3)
	kept := st.Stored(3, lunch).Acceptor
	st.RunFor(30 * time.Millisecond)
	read := st.Read(3, lunch)
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 2, Server: 1})
	st.expect(forget.String(), forget.Ended && forget.Err == nil)
	st.expect("then nothing of lunch was left on the disks of servers 1 and 2", left == 1)
	st.expect(fmt.Sprintf("server 3 came back with its vote for %s", kept.Value), kept.Value == "pizza" && kept.Accepted == late.Ballot)
	st.expect("server 2 refused the late accept", st.Arrived(late) == 1 && st.Sent(paxostest.Match{From: 2, Kind: paxos.KindNack, Ballot: late.Ballot}) == 1)
	st.expect(read.String(), errors.Is(read.Err, paxos.ErrForgotten))
	st.expect("no server ever learned pizza", !st.everLearned("pizza"))
	st.expect("nothing of lunch is left on any disk", st.remember() == 0)
}

// everLearned reports whether a server has ever learned v.
func (st *stage) everLearned(v paxos.Value) bool {
	return slices.ContainsFunc(st.Log(), func(e paxostest.Entry) bool { return e.Kind == paxos.EventLearned && e.Message.Value == v })
}

// remember counts the servers that have a record of lunch.
func (st *stage) remember() (n int) {
	for _, id := range st.Servers() {
		if st.Stored(id, lunch) != (paxos.Record{}) {
			n++
		}
	}
	return n
}

func standing(st *stage) {
	st.open(paxostest.SimConfig{})
	const starter, dinner = "starter", "dinner"
	ballot := paxos.Ballot{Round: 1, Server: 1}
	voted := paxostest.Match{From: 2, To: 3, Kind: paxos.KindAccepted, Ballot: paxos.Ballot{Round: 1, Server: 3}}
	st.Drop(paxostest.Match{From: 3, To: 1, Kind: paxos.KindAccept})
	st.Hold(voted)
	soup := st.Propose(3, starter, "soup")
	st.untilSent(1, voted)
	st.RunFor(2 * time.Millisecond)
	st.Stand(1)
	st.untilArrived(2, paxostest.Match{To: 1, Kind: paxos.KindStood})
	st.RunFor(2 * time.Millisecond)

	prepares := st.Sent(paxostest.Match{From: 1, Kind: paxos.KindPrepare})
	burger := st.Propose(1, lunch, "burger")
	st.untilEnded(burger)
	st.expect("server 1 sent no prepare for lunch", st.Sent(paxostest.Match{From: 1, Kind: paxos.KindPrepare}) == prepares)
	st.RunFor(15 * time.Millisecond)
	salad := st.Propose(1, starter, "salad")
	st.untilEnded(salad)
	st.RunFor(2 * time.Millisecond)
	st.Crash(1)
	kimbap := st.Propose(3, dinner, "kimbap")
	st.untilEnded(kimbap)
	st.Release(voted)
	st.untilEnded(soup)

	st.expectResult(burger, "burger", ballot)
	st.expect("lunch took one round trip and one save: "+burger.Took.String(), burger.Took < 25*time.Millisecond)
	st.expect(salad.String(), salad.Ended && salad.Decision.Value == "soup" && ballot.Less(salad.Decision.Ballot))
	st.expect(soup.String(), soup.Ended && soup.Decision == salad.Decision)
	st.expect(kimbap.String(), kimbap.Ended && kimbap.Decision.Value == "kimbap" && ballot.Less(kimbap.Decision.Ballot))
	st.expect("it took two round trips, as ever: "+kimbap.Took.String(), kimbap.Took < 50*time.Millisecond)
}

func handedOver(st *stage) {
	st.open(paxostest.SimConfig{})
	st.omit = []paxos.Kind{paxos.KindPull, paxos.KindNames, paxos.KindDecisions}
	const starter, dinner, supper, drinks = "starter", "dinner", "supper", "drinks"
	forward := paxostest.Match{From: 3, To: 1, Kind: paxos.KindForward}
	propose := func(id paxos.ServerID, instance string, v paxos.Value) *paxostest.Call {
		call := st.Propose(id, instance, v)
		st.untilEnded(call)
		st.RunFor(15 * time.Millisecond)
		return call
	}
	soup := propose(3, starter, "soup")
	classic := st.sentToDecide()
	st.Stand(1)
	st.Until("server 1 can use its ballot", func() bool { return st.Status(1).Standing.Ready })
	ballot := st.Status(1).Standing.Promised
	burger := propose(1, lunch, "burger")
	before := st.sentToDecide()
	pizza := propose(3, dinner, "pizza")
	forwards, forwarded := st.Sent(forward), st.sentToDecide()-before
	kimbap := st.Propose(3, supper, "kimbap")
	st.untilSent(2, forward)
	st.RunFor(2 * time.Millisecond)
	st.Crash(1)
	st.untilEnded(kimbap)
	st.RunFor(15 * time.Millisecond)
	tea := propose(3, drinks, "tea")

	st.expectResult(burger, "burger", ballot)
	st.expect(pizza.String(), pizza.Ended && pizza.Decision.Value == "pizza" && pizza.Decision.Ballot == ballot)
	st.expect("server 3 forwarded it, and began no ballot for it", forwards == 1 && st.Sent(paxostest.Match{From: 3, Kind: paxos.KindForward}) == 2)
	st.expect(fmt.Sprintf("soup took %d messages and %v, and pizza %d and %v", classic, soup.Took, forwarded, pizza.Took),
		classic == 10 && forwarded == 7 && pizza.Took < soup.Took)
	st.expect(kimbap.String(), kimbap.Ended && kimbap.Decision.Value == "kimbap" && kimbap.Decision.Ballot.Server == 3)
	st.expect("with the hedge it took "+kimbap.Took.String(), kimbap.Took < 100*time.Millisecond)
	st.expect(tea.String(), tea.Ended && tea.Decision.Value == "tea")
	st.expect("it took two round trips, as ever: "+tea.Took.String(), tea.Took == soup.Took)
	counted := st.Status(3).Counters
	st.expect("server 3 counts 2 forwards and 1 hedge", counted.Forwards == 2 && counted.Hedges == 1)
}

// sentToDecide counts the messages that decide something, and tell of it.
func (st *stage) sentToDecide() (n int) {
	for _, kind := range []paxos.Kind{paxos.KindForward, paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindChosen} {
		n += st.Sent(paxostest.Match{Kind: kind})
	}
	return n
}
