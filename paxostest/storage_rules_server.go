package paxostest

import (
	"fmt"
	"math"
	"strings"

	"github.com/singledecree/paxos"
)

var storageServerRules = []storageRule{
	{"every field of the server's state survives", checkStateSurvives},
	{"a batch without Server leaves the state as it was", checkStateStays},
	{"the server's state never goes down", checkStateNeverDown},
	{"the server's configuration is never taken back", checkConfigurationStays},
	{"no Index is above Last", checkNoIndexAboveLast},
	{"a storage is formatted once", checkFormatOnce},
}

func checkStateSurvives(k *storageKit) {
	s := k.fresh()
	for _, change := range []func(*paxos.ServerState){
		func(*paxos.ServerState) {}, // the same again
		func(st *paxos.ServerState) { st.Boot++ },
		func(st *paxos.ServerState) { st.Rounds += 1 << 16 },
		func(st *paxos.ServerState) { st.Last += 3 },
		func(st *paxos.ServerState) { st.Pulled = "2/9f03/57,3/1c2/60" },
		func(st *paxos.ServerState) { st.Pulled = "" },
		func(st *paxos.ServerState) { st.Peers = "3/1c2" },
		func(st *paxos.ServerState) { st.Peers = "2/9f03,3/1c2" },
		func(st *paxos.ServerState) { st.Peers = manyPeers(st.Peers, 64+1024) },
		func(st *paxos.ServerState) { st.Forgotten = 1 },
		func(st *paxos.ServerState) { st.Forgotten = 1 << 40 },
		func(st *paxos.ServerState) { st.Members = "1,2,3,4,5 majority(5)" },
		func(st *paxos.ServerState) { changeMembers(st, 1, 0) },
		func(st *paxos.ServerState) { st.Import = "2/9f03/57" },
		func(st *paxos.ServerState) { st.Import = paxos.ImportComplete },
		func(st *paxos.ServerState) { st.Before = "" },
		func(st *paxos.ServerState) { changeMembers(st, 60, 61) },
		func(st *paxos.ServerState) { st.Floor = paxos.Ballot{Round: 1 << 40, Server: 3} },
		func(st *paxos.ServerState) { st.Floor = paxos.Ballot{Round: math.MaxUint64, Server: math.MaxUint64} },
		func(st *paxos.ServerState) { st.Pulled = string(randomValue(1, 32<<10)) },
		func(st *paxos.ServerState) {
			st.Boot, st.Rounds, st.Last = math.MaxUint64, math.MaxUint64, math.MaxUint64
		},
	} {
		state := s.state
		change(&state)
		s.save(paxos.Batch{Server: &state})
		s.check()
		s.crashed().check()
		s = s.reopened()
		s.check()
	}
}

// manyPeers is a ServerState.Peers of so many servers, among them those before, which have lower IDs.
func manyPeers(before string, n int) string {
	text := strings.Builder{}
	text.WriteString(before)
	for i := strings.Count(before, "/"); i < n; i++ {
		fmt.Fprintf(&text, ",%d/%x", math.MaxUint32+uint64(i), math.MaxUint64-uint64(i))
	}
	return text.String()
}

// changeMembers makes st the state of a server that has just learned configuration number n. It has n+1 acceptors, 3 at least,
// and so many addresses.
func changeMembers(st *paxos.ServerState, n uint64, addresses int) {
	m := storageMembers()
	m.Cluster = st.Cluster
	for id := paxos.ServerID(len(m.Acceptors) + 1); id <= paxos.ServerID(n+1); id++ {
		m.Acceptors = append(m.Acceptors, id)
	}
	before := paxos.Configuration{Number: n - 1, Members: m.Clone()}
	if n > 1 {
		before.Before = n
	}
	m.Addresses = map[paxos.ServerID]string{}
	for _, id := range m.Acceptors[:min(addresses, len(m.Acceptors))] {
		m.Addresses[id] = strings.Repeat("a", 255)
	}
	next := paxos.Configuration{Number: n, Members: m, Before: before.Fingerprint()}
	st.Members, st.Configuration, st.Before, st.Import = m.Voters(), next.String(), before.String(), ""
}

func checkStateStays(k *storageKit) {
	s := k.fresh()
	state := s.state
	state.Boot, state.Rounds, state.Last, state.Pulled = state.Boot+1, state.Rounds+9, state.Last+1, "2/9f03/57"
	s.save(paxos.Batch{Server: &state, Records: []paxos.Record{promisedRecord("x", 1)}})
	s.put(promisedRecord("y", 1))
	s.check()
	s.save(paxos.Batch{Drop: []paxos.NameRange{{From: "x", To: "z"}}})
	s.check()
	s.save(paxos.Batch{})
	s.check()
	s.crashed().check()
	s.reopened().check()
}

func checkStateNeverDown(k *storageKit) {
	for _, c := range []struct {
		what   string
		change func(*paxos.ServerState)
	}{
		{"Boot goes down", func(st *paxos.ServerState) { st.Boot-- }},
		{"Rounds goes down", func(st *paxos.ServerState) { st.Rounds -= 500 }},
		{"Last goes down", func(st *paxos.ServerState) { st.Last = 0 }},
		{"Forgotten goes down", func(st *paxos.ServerState) { st.Forgotten = 0 }},
		{"Floor goes down", func(st *paxos.ServerState) { st.Floor.Round-- }},
		{"Floor is gone", func(st *paxos.ServerState) { st.Floor = paxos.Ballot{} }},
		{"one number goes down while others rise", func(st *paxos.ServerState) {
			st.Boot, st.Rounds, st.Last = st.Boot+1, st.Rounds+1, st.Last-1
		}},
		{"ID changes", func(st *paxos.ServerState) { st.ID++ }},
		{"Store changes", func(st *paxos.ServerState) { st.Store += 2 }},
		{"Cluster changes", func(st *paxos.ServerState) { st.Cluster += "2" }},
		{"a Store in Peers changes", func(st *paxos.ServerState) { st.Peers = "2/9f04,3/1c2" }},
		{"a Store in Peers is gone", func(st *paxos.ServerState) { st.Peers = "3/1c2" }},
		{"all of Peers is gone", func(st *paxos.ServerState) { st.Peers = "" }},
		{"the state is gone", func(st *paxos.ServerState) { *st = paxos.ServerState{} }},
	} {
		for _, reopen := range []bool{false, true} {
			s := k.fresh()
			state := s.state
			state.Boot, state.Rounds, state.Last, state.Peers, state.Forgotten = state.Boot+3, state.Rounds+1000, state.Last+7, "2/9f03,3/1c2", 1
			state.Floor = paxos.Ballot{Round: 9, Server: 2}
			s.save(paxos.Batch{Server: &state, Records: []paxos.Record{votedRecord("x", 1, "v")}})
			if reopen {
				s = s.reopened() // it must know still what it saved
			}
			c.change(&state)
			s.refuse(paxos.Batch{Server: &state, Records: []paxos.Record{votedRecord("x", 2, "w"), promisedRecord("y", 1)}}, c.what)
			s.checkAfterError()
			s.crashed().check()
			s = s.reopened()
			s.check()
		}
	}
}

// checkConfigurationStays has a Save refused that takes back what the state says of the configuration, or that breaks it.
func checkConfigurationStays(k *storageKit) {
	for _, c := range []struct {
		what   string
		change func(*paxos.ServerState)
	}{
		{"Configuration is gone", func(st *paxos.ServerState) { st.Configuration, st.Before, st.Import = "", "", "" }},
		{"the number of Configuration goes down", func(st *paxos.ServerState) { changeMembers(st, 4, 0) }},
		{"the text of Configuration changes", func(st *paxos.ServerState) { changeMembers(st, 5, 1); st.Before, st.Import = "", paxos.ImportComplete }},
		{"Configuration is no text of one", func(st *paxos.ServerState) { st.Configuration += " " }},
		{"Members is not of Configuration", func(st *paxos.ServerState) { st.Members = "1,2,3 majority(3)" }},
		{"Before comes back", func(st *paxos.ServerState) { changeMembers(st, 5, 0); st.Import = paxos.ImportComplete }},
		{"Import is complete no more", func(st *paxos.ServerState) { st.Import = "2/9f03/57" }},
	} {
		for _, reopen := range []bool{false, true} {
			s := k.fresh()
			state := s.state
			changeMembers(&state, 5, 0)
			state.Before, state.Import = "", paxos.ImportComplete
			s.save(paxos.Batch{Server: &state})
			if reopen {
				s = s.reopened() // it must know still what it saved
			}
			c.change(&state)
			s.refuse(paxos.Batch{Server: &state, Records: []paxos.Record{promisedRecord("x", 1)}}, c.what)
			s.checkAfterError()
			s.reopened().check()
		}
	}
}

// checkNoIndexAboveLast saves decisions up to the Last that is saved with them or was before, and has one above it refused.
func checkNoIndexAboveLast(k *storageKit) {
	last := func(s *testedStorage, n uint64) *paxos.ServerState {
		state := s.state
		state.Last = n
		return &state
	}
	for _, c := range []struct {
		server uint64 // the Last that the batch has; 0: it has no Server
		index  uint64
	}{{0, 9}, {0, math.MaxUint64}, {8, 9}, {12, 13}, {12, math.MaxUint64}} {
		for _, reopen := range []bool{false, true} {
			s := k.fresh()
			s.save(paxos.Batch{Server: last(s, 8), Records: []paxos.Record{decidedRecord("with it", 1, "v", 6), votedRecord("x", 1, "v")}})
			s.put(decidedRecord("after it", 1, "v", 7))
			if reopen {
				s = s.reopened() // it must know still what it saved
			}
			s.put(decidedRecord("at it", 1, "v", 8))
			bad := paxos.Batch{Records: []paxos.Record{promisedRecord("y", 1), decidedRecord("above it", 1, "v", c.index), votedRecord("x", 2, "w")}}
			if c.server != 0 {
				bad.Server = last(s, c.server)
			}
			s.refuse(bad, fmt.Sprintf("the Index %d is above Last, %d", c.index, max(c.server, 8)))
			s.refuse(paxos.Batch{Records: []paxos.Record{promisedRecord("z", 1)}}, "the Save before it had an Index above Last: the storage is dead")
			s.checkAfterError()
			s.crashed().check()
			s.reopened().check()
		}
	}
}

func checkFormatOnce(k *storageKit) {
	s := k.fresh()
	again := func() {
		k.Helper()
		for _, id := range []paxos.ServerID{s.state.ID, 2} {
			if err := paxos.Format(s.Storage, id, storageMembers()); err == nil {
				k.Fatalf("Format of a formatted storage: nil: want an error")
			}
			s.check()
		}
	}
	again()
	s.put(votedRecord("x", 1, "v"))
	again()
	s = s.reopened()
	again()
	s = s.crashed()
	again()
	s.put(votedRecord("y", 1, "v")) // it is not dead of that
	s.check()
	if s.state.Store == 0 || s.state.ID == 0 || s.state.Cluster == "" || s.state.Members == "" {
		k.Fatalf("Server = %s: a formatted storage has an ID, a Cluster, a Store and Members", describeState(s.state))
	}
}
