package explore

import "slices"

// none is the parent of the initial state.
const none = ^uint32(0)

const (
	pageBits = 14 // states in a page, so that growing copies none
	minTable = 1 << 10
)

// A shard keeps the states whose hashes share their first bits, in the order in which they came, and their parents. Its index of them is a
// hash table with open addressing.
type shard struct {
	width    int
	pages    [][]uint64
	parents  [][]uint32
	count    uint32
	expanded uint32 // how many of the states were expanded, or are about to be
	// A slot holds the middle half of a hash above the state's position plus 1; zero: it is free.
	table []uint64
}

func (s *shard) init(width int) {
	s.width = width
	s.table = make([]uint64, minTable)
}

func (s *shard) state(i uint32) []uint64 {
	at := int(i&(1<<pageBits-1)) * s.width
	return s.pages[i>>pageBits][at : at+s.width]
}

func (s *shard) parent(i uint32) uint32 { return s.parents[i>>pageBits][i&(1<<pageBits-1)] }

// add adds the state, unless it is there already, and returns its position.
func (s *shard) add(hash uint64, state []uint64, parent uint32) (index uint32, added bool) {
	tag := hash << shardBits >> 32
	mask := uint64(len(s.table) - 1)
	for at := tag & mask; ; at = (at + 1) & mask {
		slot := s.table[at]
		if slot == 0 {
			s.table[at] = tag<<32 | uint64(s.count+1)
			break
		}
		if slot>>32 == tag && slices.Equal(s.state(uint32(slot)-1), state) {
			return uint32(slot) - 1, false
		}
	}
	index = s.count
	if index>>pageBits == uint32(len(s.pages)) {
		s.pages = append(s.pages, make([]uint64, s.width<<pageBits))
		s.parents = append(s.parents, make([]uint32, 1<<pageBits))
	}
	s.count++
	copy(s.state(index), state)
	s.parents[index>>pageBits][index&(1<<pageBits-1)] = parent
	if 3*uint64(s.count) > 2*uint64(len(s.table)) {
		s.grow()
	}
	return index, true
}

// grow doubles the table. The tags alone say where the slots go.
func (s *shard) grow() {
	old := s.table
	s.table = make([]uint64, 2*len(old))
	mask := uint64(len(s.table) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := slot >> 32 & mask
		for s.table[at] != 0 {
			at = (at + 1) & mask
		}
		s.table[at] = slot
	}
}

// hash mixes all words into all bits.
func hash(state []uint64) (h uint64) {
	for _, word := range state {
		h = (h ^ word) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	h *= 0xd6e8feb86659fd93
	return h ^ h>>29
}
