package paxostest

import (
	"fmt"
	"io/fs"

	"github.com/singledecree/paxos"
)

// Records and batches in words, for messages: large ones are cut short.

func short(s string) string {
	const most = 40
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
}

func describe(r paxos.Record) string {
	if r == (paxos.Record{}) {
		return "the zero Record"
	}
	what := "undecided"
	if r.Chosen {
		what = "chosen"
	}
	if r.Index != 0 {
		what += fmt.Sprintf(", index %d", r.Index)
	}
	return fmt.Sprintf("{%s: promised %s, accepted %s %s, %s}", short(r.Instance), r.Acceptor.Promised, r.Acceptor.Accepted,
		short(string(r.Acceptor.Value)), what)
}

func describeState(s paxos.ServerState) string {
	configuration := ""
	if s.Configuration != "" || s.Before != "" || s.Import != "" {
		configuration = fmt.Sprintf(", configuration %s, before %s, import %s", short(s.Configuration), short(s.Before), short(s.Import))
	}
	if s.Floor != (paxos.Ballot{}) {
		configuration += fmt.Sprintf(", floor %s", s.Floor)
	}
	return fmt.Sprintf("{%s: server %d, store %x, members %s, boot %d, rounds %d, last %d, pulled %s, peers %s, forgotten %d%s}", short(s.Cluster), s.ID, s.Store,
		short(s.Members), s.Boot, s.Rounds, s.Last, short(s.Pulled), short(s.Peers), s.Forgotten, configuration)
}

func describeNamed(n paxos.Named) string {
	return fmt.Sprintf("{%s, index %d}", short(n.Instance), n.Index)
}

func describeBatch(b paxos.Batch) string {
	what := fmt.Sprintf("%d records", len(b.Records))
	if len(b.Records) == 1 {
		what = describe(b.Records[0])
	}
	if len(b.Drop) > 0 {
		what += fmt.Sprintf(", %d ranges to drop", len(b.Drop))
	}
	if b.Server != nil {
		what += ", the state " + describeState(*b.Server)
	}
	return what
}

func nth(n int) string {
	if n%10 < 1 || n%10 > 3 || n%100 >= 11 && n%100 <= 13 {
		return fmt.Sprintf("%dth", n)
	}
	return fmt.Sprint(n) + []string{"st", "nd", "rd"}[n%10-1]
}

// The records of an instance in the three states that it goes through.

func promisedRecord(name string, round uint64) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: round, Server: 2}}}
}

func votedRecord(name string, round uint64, v paxos.Value) paxos.Record {
	b := paxos.Ballot{Round: round, Server: 3}
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: b, Accepted: b, Value: v}}
}

func decidedRecord(name string, round uint64, v paxos.Value, index uint64) paxos.Record {
	r := votedRecord(name, round, v)
	r.Chosen, r.Index = true, index
	return r
}

// regularFiles is a file system without what is neither a file nor a directory, such as a socket: a copy has no use for it.
type regularFiles struct{ fs.FS }

func (f regularFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, name)
	var kept []fs.DirEntry
	for _, e := range all {
		if e.IsDir() || e.Type().IsRegular() {
			kept = append(kept, e)
		}
	}
	return kept, err
}
