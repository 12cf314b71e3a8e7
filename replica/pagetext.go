package replica

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// Bounds of a pull.
const (
	pullNames  = 1024     // of a page
	pullBytes  = 64 << 10 // of a page
	pullWindow = 1024     // decisions that are asked for at a time
	pullFlight = 4 << 20  // about the bytes of those decisions
)

// The text forms of a pull. Instance names have no control characters, so lines are enough.

// pulled says how far the decisions of a store are known.
type pulled struct{ store, index uint64 }

// pullText is the text of a Pull. It names a store, the Index up to which the decisions of that store are known, and the
// sender's start.
func pullText(store, index, boot uint64) paxos.Value {
	return paxos.Value(appendPull(make([]byte, 0, 64), store, index, boot))
}

func appendPull(b []byte, store, index, boot uint64) []byte {
	b = append(strconv.AppendUint(b, store, 16), ' ')
	b = append(strconv.AppendUint(b, index, 10), ' ')
	return strconv.AppendUint(b, boot, 10)
}

func parsePullText(v paxos.Value) (store, index, boot uint64, ok bool) {
	first, rest, _ := strings.Cut(string(v[:min(len(v), 100)]), " ")
	second, third, _ := strings.Cut(rest, " ")
	store, err1 := strconv.ParseUint(first, 16, 64)
	index, err2 := strconv.ParseUint(second, 10, 64)
	boot, err3 := strconv.ParseUint(third, 10, 64)
	return store, index, boot, err1 == nil && err2 == nil && err3 == nil
}

// namesPage is the text of a page. Its first line names the Pull that it answers, and the Index at which the page ends. In
// lines, a line's end comes before each name.
func namesPage(store, from, boot, to uint64, lines []byte) paxos.Value {
	head := append(appendPull(make([]byte, 0, 96), store, from, boot), ' ')
	head = strconv.AppendUint(head, to, 10)
	var page strings.Builder
	page.Grow(len(head) + len(lines))
	page.Write(head)
	page.Write(lines)
	return paxos.Value(page.String())
}

// parseNames reads a page: the head, then a name on each line. It appends the names to names. An invalid name spoils the
// page.
func parseNames(v paxos.Value, names []string) (store, from, boot, to uint64, all []string, ok bool) {
	head, lines, more := strings.Cut(string(v), "\n")
	i := strings.LastIndexByte(head, ' ')
	if i < 0 {
		return 0, 0, 0, 0, names, false
	}
	to, err := strconv.ParseUint(head[i+1:], 10, 64)
	store, from, boot, ok = parsePullText(paxos.Value(head[:i]))
	if err != nil || !ok || strings.Count(lines, "\n") >= pullNames {
		return 0, 0, 0, 0, names, false
	}
	for more {
		var name string
		name, lines, more = strings.Cut(lines, "\n")
		if paxos.CheckInstance(name) != nil {
			return 0, 0, 0, 0, names, false
		}
		names = append(names, name)
	}
	return store, from, boot, to, names, true
}

// parsePulled reads ServerState.Pulled.
func parsePulled(s string) (map[paxos.ServerID]pulled, error) {
	all := map[paxos.ServerID]pulled{}
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
		all[paxos.ServerID(id)] = pulled{store, index}
	}
	return all, nil
}
