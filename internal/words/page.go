package words

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
)

// An Entry is one line of a page of decisions.
type Entry struct {
	Name    string // the instance, or "$forgotten " and a range of names
	Decided bool   // the page has the decision
	Ballot  paxos.Ballot
	Value   paxos.Value
}

// Page reads the Value of a Decisions: see docs/messages.md.
func Page(v paxos.Value) (all []Entry, err error) {
	_, rest, ok := strings.Cut(string(v), "\n")
	if !ok {
		return nil, fmt.Errorf("a page of decisions has no end of its first line: %q", v)
	}
	var name string
	var ballot paxos.Ballot
	for b := []byte(rest); len(b) > 0; {
		number := func() (n uint64) {
			var size int
			if n, size = binary.Uvarint(b); size <= 0 {
				err = fmt.Errorf("a page of decisions: line %d has no number", len(all)+1)
				return 0
			}
			b = b[size:]
			return n
		}
		text := func() (s string) {
			n := number()
			if n > uint64(len(b)) {
				err = fmt.Errorf("a page of decisions: line %d is cut", len(all)+1)
				return ""
			}
			s, b = string(b[:n]), b[n:]
			return s
		}
		first := number()
		own := text()
		if err != nil || first>>2 > uint64(len(name)) {
			return nil, fmt.Errorf("a page of decisions: line %d is no line: %w", len(all)+1, err)
		}
		name = name[:first>>2] + own
		e := Entry{Name: name, Decided: first&3 != 0}
		if first&3 == 2 {
			n := number() // zigzag
			ballot.Round += n>>1 ^ -(n & 1)
			ballot.Server = paxos.ServerID(number())
		}
		if e.Decided {
			e.Ballot, e.Value = ballot, paxos.Value(text())
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
