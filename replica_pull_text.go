package paxos

import (
	"fmt"
	"strconv"
	"strings"
)

// The text forms of a pull: instance names have no control characters, so lines are enough.

// pulled is how far the decisions of a store are known.
type pulled struct{ store, index uint64 }

// pullText is a Pull: whose decisions, up to where they are known, and which start of the sender asks.
func pullText(store, index, boot uint64) Value {
	return Value(strconv.FormatUint(store, 16) + " " + strconv.FormatUint(index, 10) + " " + strconv.FormatUint(boot, 10))
}

func parsePullText(v Value) (store, index, boot uint64, ok bool) {
	words := strings.Split(string(v[:min(len(v), 100)]), " ")
	if len(words) != 3 {
		return 0, 0, 0, false
	}
	store, err1 := strconv.ParseUint(words[0], 16, 64)
	index, err2 := strconv.ParseUint(words[1], 10, 64)
	boot, err3 := strconv.ParseUint(words[2], 10, 64)
	return store, index, boot, err1 == nil && err2 == nil && err3 == nil
}

// namesHead is the first line of a page: the Pull that it answers, and up to where it goes.
func namesHead(store, from, boot, to uint64) Value {
	return pullText(store, from, boot) + Value(" "+strconv.FormatUint(to, 10))
}

// parseNames reads a page: the head, then a name on each line. A name that is none spoils the page.
func parseNames(v Value) (store, from, boot, to uint64, names []string, ok bool) {
	head, lines, more := strings.Cut(string(v), "\n")
	i := strings.LastIndexByte(head, ' ')
	if i < 0 {
		return 0, 0, 0, 0, nil, false
	}
	to, err := strconv.ParseUint(head[i+1:], 10, 64)
	store, from, boot, ok = parsePullText(Value(head[:i]))
	if err != nil || !ok || strings.Count(lines, "\n") >= pullNames {
		return 0, 0, 0, 0, nil, false
	}
	if more {
		names = strings.Split(lines, "\n")
	}
	for _, name := range names {
		if checkInstance(name) != nil {
			return 0, 0, 0, 0, nil, false
		}
	}
	return store, from, boot, to, names, true
}

// pulledText is ServerState.Pulled.
func (r *Replica) pulledText() string {
	var b strings.Builder
	for i := range r.peers {
		p := &r.peers[i]
		if p.pull.stored == (pulled{}) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d/%x/%d", uint64(p.id), p.pull.stored.store, p.pull.stored.index)
	}
	return b.String()
}

// parsePulled reads ServerState.Pulled.
func parsePulled(s string) (map[ServerID]pulled, error) {
	all := map[ServerID]pulled{}
	if s == "" {
		return all, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		words := strings.Split(part, "/")
		if len(words) != 3 {
			return nil, fmt.Errorf("ServerState.Pulled: %q: want server/store/index", part)
		}
		id, err1 := strconv.ParseUint(words[0], 10, 64)
		store, err2 := strconv.ParseUint(words[1], 16, 64)
		index, err3 := strconv.ParseUint(words[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("ServerState.Pulled: %q: want server/store/index", part)
		}
		all[ServerID(id)] = pulled{store, index}
	}
	return all, nil
}
