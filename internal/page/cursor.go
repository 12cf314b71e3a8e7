package page

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// A Cursor says up to which Index the decisions of a storage are known.
type Cursor struct{ Store, Index uint64 }

// Append appends one part of ServerState.Pulled: the cursor among the decisions of the acceptor with that ID. The zero Cursor is left out.
func (c Cursor) Append(b []byte, id paxos.ServerID) []byte {
	if c == (Cursor{}) {
		return b
	}
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(strconv.AppendUint(b, uint64(id), 10), '/')
	b = append(strconv.AppendUint(b, c.Store, 16), '/')
	return strconv.AppendUint(b, c.Index, 10)
}

// ParseCursors reads ServerState.Pulled.
func ParseCursors(s string) (map[paxos.ServerID]Cursor, error) {
	all := map[paxos.ServerID]Cursor{}
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
		all[paxos.ServerID(id)] = Cursor{store, index}
	}
	return all, nil
}
