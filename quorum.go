package paxos

import (
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
)

// MaxAcceptors is the most acceptors that a cluster can have. Servers that only propose and learn do not count.
const MaxAcceptors = 64

// A Set is a set of acceptors, by their position in [Members].Acceptors, from 0.
type Set uint64

// All returns the set of the first n positions.
func All(n int) Set {
	if n >= MaxAcceptors {
		return ^Set(0)
	}
	return 1<<max(n, 0) - 1
}

// Has reports whether position i is in s.
func (s Set) Has(i int) bool { return i >= 0 && i < MaxAcceptors && s>>i&1 == 1 }

// With returns s with position i added. It panics if i is not a position.
func (s Set) With(i int) Set {
	if i < 0 || i >= MaxAcceptors {
		panic("paxos: Set.With: position " + strconv.Itoa(i) + " is not in 0 to 63")
	}
	return s | 1<<i
}

// Len returns how many positions are in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// String lists the positions: "{0, 2}".
func (s Set) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range MaxAcceptors {
		if !s.Has(i) {
			continue
		}
		if b.Len() > 1 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(i))
	}
	b.WriteByte('}')
	return b.String()
}

// A Quorum says which sets of acceptors are enough for a phase. Agreement rests on one rule: every phase-1 quorum and every
// phase-2 quorum have an acceptor in common. [CheckQuorum] proves it.
//
// An implementation is a comparable value. Its methods are pure and safe for concurrent use. Phase1 and Phase2 are monotone:
// a set that contains a quorum is a quorum. They ignore positions from Size on; no caller sets them. String identifies the
// quorum completely, because servers compare it in [Members.Fingerprint].
type Quorum interface {
	Size() int       // the number of acceptors
	Phase1(Set) bool // enough promises; also enough answers for a Read
	Phase2(Set) bool // enough votes: a value is chosen
	String() string
}

// Majority returns the quorum of Paxos Made Simple: more than half of n acceptors, in both phases (S5).
func Majority(n int) Quorum { return majority(n) }

type majority int

func (q majority) Size() int         { return int(q) }
func (q majority) Phase1(s Set) bool { return q > 0 && 2*(s&All(int(q))).Len() > int(q) }
func (q majority) Phase2(s Set) bool { return q.Phase1(s) }
func (q majority) String() string    { return "majority(" + strconv.Itoa(int(q)) + ")" }
func (q majority) needs() (int, int) { return int(q)/2 + 1, int(q)/2 + 1 }

// Flexible returns a quorum over n acceptors: any phase1 of them for promises, and any phase2 of them for votes (Howard,
// Malkhi, Spiegelman: Flexible Paxos, 2016). It fails unless phase1 + phase2 > n, because then the two need not meet.
func Flexible(n, phase1, phase2 int) (Quorum, error) {
	return checked(flexible{n, phase1, phase2})
}

type flexible struct{ n, phase1, phase2 int }

func (q flexible) Size() int         { return q.n }
func (q flexible) Phase1(s Set) bool { return (s & All(q.n)).Len() >= q.phase1 }
func (q flexible) Phase2(s Set) bool { return (s & All(q.n)).Len() >= q.phase2 }
func (q flexible) String() string    { return fmt.Sprintf("flexible(%d,%d,%d)", q.n, q.phase1, q.phase2) }
func (q flexible) needs() (int, int) { return q.phase1, q.phase2 }

// Weighted returns the quorum of more than half of the total weight, in both phases. Each weight is that of the acceptor at
// its position, from 0 to 65,535. At least one is not zero.
func Weighted(weights []int) (Quorum, error) {
	q := weighted{n: len(weights)}
	if err := checkSize("weighted", q.n); err != nil {
		return nil, err
	}
	for i, w := range weights {
		if w < 0 || w > 1<<16-1 {
			return nil, fmt.Errorf("paxos: weighted quorum: weight %d at position %d is not in 0 to 65535", w, i)
		}
		q.weights[i] = uint16(w)
	}
	return checked(q)
}

type weighted struct {
	n       int
	weights [MaxAcceptors]uint16
}

func (q weighted) Size() int         { return q.n }
func (q weighted) Phase1(s Set) bool { return 2*q.sum(s) > q.sum(All(q.n)) }
func (q weighted) Phase2(s Set) bool { return q.Phase1(s) }

func (q weighted) sum(s Set) (sum int) {
	for s &= All(q.n); s != 0; s &= s - 1 {
		sum += int(q.weights[bits.TrailingZeros64(uint64(s))])
	}
	return sum
}

func (q weighted) String() string {
	b := []byte("weighted(")
	for i := range q.n {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(q.weights[i]), 10)
	}
	return string(append(b, ')'))
}

// Grid returns a quorum over acceptors that are laid out row by row. A phase-1 quorum contains a full row, and a phase-2
// quorum a full column. Every row meets every column.
func Grid(rows, cols int) (Quorum, error) {
	if rows < 1 || cols < 1 || rows > MaxAcceptors || cols > MaxAcceptors {
		return nil, fmt.Errorf("paxos: grid quorum: %d rows of %d: want at least 1 and at most 64 acceptors in all", rows, cols)
	}
	return checked(grid{rows, cols})
}

type grid struct{ rows, cols int }

func (q grid) Size() int      { return q.rows * q.cols }
func (q grid) String() string { return fmt.Sprintf("grid(%d,%d)", q.rows, q.cols) }

func (q grid) Phase1(s Set) bool {
	for r := range q.rows {
		if row := All(q.cols) << (r * q.cols); s&row == row {
			return true
		}
	}
	return false
}

func (q grid) Phase2(s Set) bool {
	for c := range q.cols {
		col := Set(0)
		for r := range q.rows {
			col = col.With(r*q.cols + c)
		}
		if s&col == col {
			return true
		}
	}
	return false
}

// ParseQuorum returns the quorum that String of [Majority], [Flexible], [Weighted] and [Grid] writes in these words:
// "majority(3)". It reads nothing else: no sign, no leading zero, no space. The result has passed [CheckQuorum]. A quorum of
// your own can't be made again from its words, so they are an error.
func ParseQuorum(words string) (Quorum, error) {
	kind, rest, _ := strings.Cut(words, "(")
	list := strings.TrimSuffix(rest, ")")
	var numbers []int
	for more := strings.Count(list, ",") < MaxAcceptors; more; {
		var word string
		word, list, more = strings.Cut(list, ",")
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return nil, unreadable(words)
		}
		numbers = append(numbers, int(n))
	}
	var q Quorum
	var err error
	switch {
	case kind == "majority" && len(numbers) == 1:
		q, err = checked(Majority(numbers[0]))
	case kind == "flexible" && len(numbers) == 3:
		q, err = Flexible(numbers[0], numbers[1], numbers[2])
	case kind == "weighted" && len(numbers) > 0:
		q, err = Weighted(numbers)
	case kind == "grid" && len(numbers) == 2:
		q, err = Grid(numbers[0], numbers[1])
	default:
		return nil, unreadable(words)
	}
	switch {
	case err != nil:
		return nil, err
	case q.String() != words:
		return nil, unreadable(words)
	}
	return q, nil
}

// unreadable returns the error of ParseQuorum for such words.
func unreadable(words string) error {
	return fmt.Errorf("paxos: quorum %q: only majority(N), flexible(N,PHASE1,PHASE2), weighted(N,N,…) and grid(ROWS,COLUMNS) can be read from words", clip(words))
}

// checked returns q, or the error of CheckQuorum.
func checked(q Quorum) (Quorum, error) {
	if err := CheckQuorum(q); err != nil {
		return nil, err
	}
	return q, nil
}

// maxExhaustive is the most acceptors for which CheckQuorum tries every set.
const maxExhaustive = 20

// CheckQuorum returns nil if q is safe: every phase-1 quorum meets every phase-2 quorum, and all acceptors together are a
// quorum of both phases. Else the error says what is wrong, and names a pair of quorums that do not meet.
//
// The quorums of this package are checked by formula. A quorum of your own is checked on every set of acceptors. It may have
// at most 20 acceptors, because more sets would take too long.
func CheckQuorum(q Quorum) error {
	if q == nil {
		return fmt.Errorf("paxos: quorum: nil")
	}
	if err := checkSize(q.String(), q.Size()); err != nil {
		return err
	}
	switch q := q.(type) {
	case majority:
		return nil
	case grid:
		return nil
	case flexible:
		return q.check()
	case weighted:
		if q.sum(All(q.n)) == 0 {
			return fmt.Errorf("paxos: quorum %s: all weights are zero, so there is no quorum", q)
		}
		return nil
	}
	return checkExhaustive(q)
}

func checkSize(name string, n int) error {
	if n < 1 || n > MaxAcceptors {
		return fmt.Errorf("paxos: quorum %s: %d acceptors: want 1 to %d", name, n, MaxAcceptors)
	}
	return nil
}

func (q flexible) check() error {
	if q.phase1 < 1 || q.phase1 > q.n || q.phase2 < 1 || q.phase2 > q.n {
		return fmt.Errorf("paxos: quorum %s: each phase needs 1 to %d acceptors", q, q.n)
	}
	if q.phase1+q.phase2 <= q.n {
		return disjoint(q, All(q.phase1), All(q.phase2)<<q.phase1)
	}
	return nil
}

// checkExhaustive tries every set. q is monotone. So a phase-2 quorum that misses the phase-1 quorum s exists only if all
// acceptors outside s are a phase-2 quorum.
func checkExhaustive(q Quorum) error {
	n := q.Size()
	if n > maxExhaustive {
		return fmt.Errorf("paxos: quorum %s: %d acceptors: a quorum that is not of package paxos is checked up to %d", q, n, maxExhaustive)
	}
	if !reflect.TypeOf(q).Comparable() {
		return fmt.Errorf("paxos: quorum %s: its type %T is not comparable", q, q)
	}
	all := All(n)
	if !q.Phase1(all) || !q.Phase2(all) {
		return fmt.Errorf("paxos: quorum %s: all %d acceptors together are no quorum", q, n)
	}
	for s := Set(0); s <= all; s++ {
		if err := checkMonotone(q, s); err != nil {
			return err
		}
		if q.Phase1(s) && q.Phase2(all&^s) {
			return disjoint(q, s, all&^s)
		}
	}
	return nil
}

func checkMonotone(q Quorum, s Set) error {
	in1, in2 := q.Phase1(s), q.Phase2(s)
	for i := range q.Size() {
		if t := s.With(i); in1 && !q.Phase1(t) || in2 && !q.Phase2(t) {
			return fmt.Errorf("paxos: quorum %s: %v is a quorum, but %v is not: it must be monotone", q, s, t)
		}
	}
	return nil
}

// disjoint returns the error that names two quorums that do not meet. It first removes the acceptors that each can spare.
func disjoint(q Quorum, s1, s2 Set) error {
	for i := range q.Size() {
		if t := s1 &^ (1 << i); q.Phase1(t) {
			s1 = t
		}
		if t := s2 &^ (1 << i); q.Phase2(t) {
			s2 = t
		}
	}
	return fmt.Errorf("paxos: quorum %s: phase-1 quorum %v and phase-2 quorum %v do not meet, so two values could be chosen", q, s1, s2)
}

// QuorumNeeds returns in words how many acceptors a phase of q needs: "majority(3) needs 2". Errors have it.
func QuorumNeeds(q Quorum, phase2 bool) string {
	counted, ok := q.(interface{ needs() (phase1, phase2 int) })
	if !ok {
		return q.String() + " is not reached"
	}
	n1, n2 := counted.needs()
	if phase2 {
		n1 = n2
	}
	return q.String() + " needs " + strconv.Itoa(n1)
}

// Joint returns the quorum of an attempt in a configuration that is not complete yet. The configuration before it has the quorum
// before. The positions are those of the acceptors of both configurations, in the order of their ServerIDs. The sets
// inBefore and inAfter say which of them are in each. The set complete has those of inAfter that were known to be complete
// before the Prepare left: see [Acceptor.Import].
//
// A phase-1 quorum is one of the new configuration that also has a phase-1 quorum of the configuration before, or a complete
// acceptor. A phase-2 quorum is one of the new configuration: nobody else is asked for a vote.
//
// It fails if the sets do not fit the quorums.
func Joint(before Quorum, inBefore Set, after Quorum, inAfter Set, complete Set) (Quorum, error) {
	q := joint{before, after, inBefore, inAfter, complete}
	switch {
	case inBefore|inAfter != All(q.Size()):
		return nil, fmt.Errorf("paxos: joint quorum: positions %v and %v leave gaps", inBefore, inAfter)
	case inBefore.Len() != before.Size():
		return nil, fmt.Errorf("paxos: joint quorum: %v has %d positions, %v needs %d", inBefore, inBefore.Len(), before, before.Size())
	case inAfter.Len() != after.Size():
		return nil, fmt.Errorf("paxos: joint quorum: %v has %d positions, %v needs %d", inAfter, inAfter.Len(), after, after.Size())
	case complete&^inAfter != 0:
		return nil, fmt.Errorf("paxos: joint quorum: complete %v are not all in %v", complete, inAfter)
	}
	return q, nil
}

type joint struct {
	before, after               Quorum
	inBefore, inAfter, complete Set
}

func (q joint) Size() int { return bits.Len64(uint64(q.inBefore | q.inAfter)) }

func (q joint) Phase1(s Set) bool {
	return q.after.Phase1(s.within(q.inAfter)) && (q.before.Phase1(s.within(q.inBefore)) || s&q.complete != 0)
}

func (q joint) Phase2(s Set) bool { return q.after.Phase2(s.within(q.inAfter)) }

func (q joint) String() string {
	return fmt.Sprintf("joint(%v %v,%v %v,%v)", q.before, q.inBefore, q.after, q.inAfter, q.complete)
}

// within returns the members of s that are in place, each by its position among the members of place.
func (s Set) within(place Set) (t Set) {
	for n := 0; place != 0; n++ {
		lowest := place & -place
		if s&lowest != 0 {
			t |= 1 << n
		}
		place &^= lowest
	}
	return t
}
