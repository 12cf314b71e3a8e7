package standing

import (
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// Text is the text of a Stood: the storage of the acceptor, the Index, and a line for each name.
func (a Answer) Text(store uint64) paxos.Value {
	size := 40
	for _, name := range a.Names {
		size += len(name) + 1
	}
	b := strconv.AppendUint(make([]byte, 0, size), store, 16)
	b = strconv.AppendUint(append(b, ' '), a.Index, 10)
	for _, name := range a.Names {
		b = append(append(b, '\n'), name...)
	}
	return paxos.Value(b)
}

// ParseAnswer reads the text that Text writes. Each name is one of an instance. ok is false if it is no such text, or does not fit.
func ParseAnswer(v paxos.Value) (a Answer, store uint64, ok bool) {
	head, rest, more := strings.Cut(string(v), "\n")
	first, second, _ := strings.Cut(head, " ")
	store, err1 := strconv.ParseUint(first, 16, 64)
	index, err2 := strconv.ParseUint(second, 10, 64)
	if err1 != nil || err2 != nil || len(rest) > MaxBytes+MaxNames || strings.Count(rest, "\n") >= MaxNames {
		return Answer{}, 0, false
	}
	a.Index = index
	for more {
		var name string
		name, rest, more = strings.Cut(rest, "\n")
		if paxos.CheckName(name) != nil {
			return Answer{}, 0, false
		}
		a.Names = append(a.Names, name)
	}
	return a, store, a.Fits()
}
