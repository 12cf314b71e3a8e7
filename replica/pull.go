package replica

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
	"github.com/singledecree/paxos/internal/standing"
)

// Bounds of a pull.
const (
	pullWindow = 1024                   // decisions that are asked for at a time
	pullFlight = 4 << 20                // about the bytes of those decisions
	pullAhead  = 2048                   // decisions that the giver brings before another page waits for it no longer: see waits
	pullPace   = 25_000                 // decisions a second, from each acceptor, while callers are served: they need the disks and processors
	paceLines  = 64                     // decisions of a page from which it counts: with fewer, the server is not far behind
	calmAfter  = 500 * time.Millisecond // without work of callers, until decisions are pulled as fast as they can be
	paceKnown  = 3                      // a page of decisions that are on the disk already is followed by a rest of so many times as long as it took
	farBehind  = 16 * page.MaxLines     // decisions from which a server is far behind another one: see isFirst
	leanLines  = 4                      // decisions of a page from which it counts whether most of them are not known
)

// A pull is the state of learning the decisions of one acceptor.
type pull struct {
	store  uint64        // the Store of the acceptor's decisions
	cursor uint64        // all decisions up to this Index of that store are known here, in memory at least
	goal   uint64        // the acceptor's Index when it was first heard in this life
	at     time.Duration // when the next Pull is due; 0: never
	asked  time.Duration // when the last Pull left; 0: none has, or it was answered
	own    uint64        // this server's own Index then
	active bool          // a page was asked for, or its decisions are being fetched
	soon   bool          // there is a reason to ask before the next Pull is due
	tries  int           // Pulls that came to nothing, one after the other
	turn   bool          // the acceptor has sent a Pull since the last one to it
	urged  bool          // the last Pull to it was out of turn

	to    uint64        // the page ends at this Index; 0: it has not come
	given uint64        // pulls.given when it came
	came  time.Duration // when it came
	rest  time.Duration // no Pull leaves earlier, unless it is due
	page  []page.Line   // its lines
	lines []page.Line   // the lines of it not looked at yet
	open  int           // how many decisions of the page were asked for, and are not known yet
	found int           // how many of its lines were not in memory here
	had   int           // how many of these were on the disk
	lean  bool          // most of the last page was not known here: the next one is to have values

	head   page.Head   // of the page
	forgot uint64      // the last Index at which the acceptor forgot anything, as pages of its running process have told
	lacks  bool        // a line before the cursor was passed over, see lack: ServerState.Pulled must not say that it is here
	stored page.Cursor // the pull's text in ServerState.Pulled, or about to be there
	added  uint64      // saves.mark at the end of the last page
}

// begin goes on where the last life ended, as far as it is stored.
func (q *pull) begin(stored page.Cursor) {
	q.stored = stored
	q.store, q.cursor = stored.Store, stored.Index
}

// text returns the text of a Pull of the process with that Boot. It says where the cursor stands.
func (q *pull) text(boot uint64, values bool) paxos.Value {
	return page.Pull{Store: q.store, Index: q.cursor, Boot: boot, Values: values}.Text()
}

// meet is called when the acceptor, which has that Index, is first heard in this life.
func (q *pull) meet(index uint64) { q.goal = index }

// isCaughtUp reports whether all decisions are known that the acceptor had when it was first heard. store is its Store.
func (q *pull) isCaughtUp(store uint64) bool {
	return q.goal == 0 || q.store == store && q.cursor >= q.goal
}

// isBehind reports whether an acceptor with that Store and that Index has more decisions than are known.
func (q *pull) isBehind(store, index uint64) bool {
	return index > q.cursor || index > 0 && q.store != store
}

// isAtStart reports whether nothing of the acceptor's decisions is known yet.
func (q *pull) isAtStart() bool { return q.cursor == 0 }

// lag returns by how much the cursor is below that Index.
func (q *pull) lag(index uint64) uint64 { return index - q.cursor }

// isActive reports whether a page was asked for, or its decisions are being fetched.
func (q *pull) isActive() bool { return q.active }

// ask is called when a Pull leaves. own is this server's Index. news: the acceptor is known to have more, so a page is asked
// for. ask returns how many such Pulls came to nothing before, one after the other.
func (q *pull) ask(now time.Duration, own uint64, news bool) (tries int) {
	q.active, q.turn = news, false
	q.asked, q.own = max(now, 1), own
	if !news {
		q.tries = 0
		return 0
	}
	q.tries++
	return q.tries - 1
}

// sinceAsked returns how many decisions have become durable here since the last Pull. own is this server's Index.
func (q *pull) sinceAsked(own uint64) uint64 { return own - q.own }

// mayAsk reports whether the acceptor may be asked now. The answer to a Pull that left less than phase ago may be on its
// way, unless many decisions have become durable here since.
func (q *pull) mayAsk(now, phase time.Duration, own, many uint64) bool {
	return q.asked == 0 || now-q.asked >= phase || q.sinceAsked(own) >= many
}

// wantSoon notes a reason to ask before the next Pull is due.
func (q *pull) wantSoon() { q.soon = true }

// wantsSoon reports whether there is such a reason.
func (q *pull) wantsSoon() bool { return q.soon }

// notSoon forgets the reason: there is nothing to ask.
func (q *pull) notSoon() { q.soon = false }

// askAnew is called when the acceptor is about to be asked for a reason of its own. The Pulls before do not count as tries.
func (q *pull) askAnew() { q.tries, q.soon = 0, false }

// plan makes the next Pull due at that time.
func (q *pull) plan(at time.Duration) { q.at = max(at, 1) }

// planNone makes no Pull due.
func (q *pull) planNone() { q.at = 0 }

// cease ends the pulls from a server that is no acceptor any more. Its page has ended.
func (q *pull) cease() { q.at, q.active, q.turn, q.asked = 0, false, false, 0 }

// planned returns when the next Pull is due; 0: never.
func (q *pull) planned() time.Duration { return q.at }

// isDue reports whether a Pull is due.
func (q *pull) isDue(now time.Duration) bool { return q.at != 0 && q.at <= now }

// isOurTurn reports whether the acceptor has sent a Pull since the last one to it.
func (q *pull) isOurTurn() bool { return q.turn }

// setOurTurn notes that the next Pull, if there is no news, is this server's, or not.
func (q *pull) setOurTurn(ours bool) { q.turn = ours }

// urge notes that the Pull that is about to leave is out of turn.
func (q *pull) urge() { q.urged = true }

// wasUrged reports whether the last Pull was out of turn, and forgets it.
func (q *pull) wasUrged() bool {
	urged := q.urged
	q.urged = false
	return urged
}

// fits reports whether a page with that head is the one that was asked for. The acceptor has its Store, and index is its Index.
func (q *pull) fits(h page.Head, index uint64) bool {
	if h.From == 0 && q.to == 0 && (h.Store != q.store || q.cursor > index) {
		q.store, q.cursor = h.Store, 0 // the cursor is of another storage, or beyond all decisions
		return true
	}
	return h.Store == q.store && h.From == q.cursor && q.open == 0 && len(q.lines) == 0 // else it comes late, or twice
}

// turnTo makes these lines, up to Index to, the page. It returns the slice of the page before for use again.
func (q *pull) turnTo(lines []page.Line, to uint64) (unused []page.Line) {
	unused = q.page[:0]
	q.active, q.tries, q.asked, q.to, q.page, q.lines = true, 0, 0, to, lines, lines
	return unused
}

// begins notes when the page came.
func (q *pull) begins(now time.Duration) { q.came = now }

// pace returns how long to rest after the page, which has been read, while callers are served.
func (q *pull) pace(now time.Duration) (rest time.Duration) {
	if n := q.found - q.had; n >= paceLines {
		rest = q.came + time.Duration(n)*time.Second/pullPace - now
	}
	if q.had >= paceLines {
		rest = max(rest, paceKnown*(now-q.came))
	}
	return max(0, rest)
}

// restUntil lets no Pull leave before that time, unless it is due. rests reports whether it is too early.
func (q *pull) restUntil(at time.Duration)   { q.rest = at }
func (q *pull) rests(now time.Duration) bool { return now < q.rest }

// hasPage reports whether a page has come, and has not ended.
func (q *pull) hasPage() bool { return q.active && q.to != 0 }

// next returns the next line of the page to look at. It is nil if there is none, or if so many decisions are asked for.
func (q *pull) next(window int) *page.Line {
	if len(q.lines) == 0 || q.open >= window {
		return nil
	}
	return &q.lines[0]
}

// pass goes on to the line after next.
func (q *pull) pass() { q.lines = q.lines[1:] }

// await counts a decision that is asked for.
func (q *pull) await() { q.open, q.found = q.open+1, q.found+1 }

// hadIt notes that a decision that is asked for is on the disk.
func (q *pull) hadIt() { q.had++ }

// fetched is called when a decision that was asked for is known, or not wanted any more.
func (q *pull) fetched() { q.open-- }

// isRead reports whether all decisions of the page are known.
func (q *pull) isRead() bool { return len(q.lines) == 0 && q.open == 0 }

// finish moves the cursor to the end of the page, whose decisions are known. mark is saves.mark.
func (q *pull) finish(mark uint64) {
	q.cursor, q.active, q.added = q.to, false, mark
	lacked := q.found - q.had
	q.lean = lacked >= leanLines && 2*lacked >= len(q.page)
}

// endPage forgets the page.
func (q *pull) endPage() {
	clear(q.page)
	q.to, q.page, q.lines, q.open, q.found, q.had = 0, q.page[:0], nil, 0, 0, 0
}

// lack notes that a line of the page is passed over: a decision that is too large for this server, or a range that it has no room for.
func (q *pull) lack() { q.lacks = true }

// hasGap reports whether lack was called.
func (q *pull) hasGap() bool { return q.lacks }

// headed notes the first line of the page.
func (q *pull) headed(h page.Head) {
	q.head = h
	q.forgot = max(q.forgot, h.Forgot, h.Merged)
}

// forgetsNothing is called with the first packet of a process of the acceptor. Its answers cover what an earlier process had forgotten.
func (q *pull) forgetsNothing() { q.forgot = 0 }

// known returns what is known here, as one page: all pages so far, with all that they have told of forgetting.
func (q *pull) known() standing.Page {
	return standing.Page{Store: q.store, To: q.cursor, Forgot: q.forgot}
}

// lastPage returns the page that was read last.
func (q *pull) lastPage() standing.Page {
	return standing.Page{Store: q.head.Store, From: q.head.From, To: q.head.To, Forgot: q.head.Forgot, Merged: q.head.Merged}
}

// isMoved reports whether the cursor is not in ServerState.Pulled, and has to be.
func (q *pull) isMoved() bool {
	return !q.lacks && page.Cursor{Store: q.store, Index: q.cursor} != q.stored
}

// mark returns the saves.mark from which the decisions up to the cursor are durable.
func (q *pull) mark() uint64 { return q.added }

// keep makes the cursor the one in ServerState.Pulled.
func (q *pull) keep() { q.stored = page.Cursor{Store: q.store, Index: q.cursor} }

// storedIndex returns the Index of that store up to which all decisions are here, and durable.
func (q *pull) storedIndex(store uint64) uint64 {
	if q.stored.Store != store {
		return 0
	}
	return q.stored.Index
}

// appendStored appends what ServerState.Pulled says of the acceptor with that ID.
func (q *pull) appendStored(b []byte, id paxos.ServerID) []byte { return q.stored.Append(b, id) }

// pulls holds the state that the pulls from all acceptors share.
type pulls struct {
	at    time.Duration // when the first Pull is due; 0: there is no server to pull from
	more  bool          // a page may go on: a decision that it waited for has come
	size  int           // about the bytes of a decision that was fetched lately
	moved bool          // a cursor is not in ServerState.Pulled yet
	asks  uint64        // ListAsks so far

	giver *pull  // the one pull whose pages have values; nil: none. The pages of the others wait for what it brings
	given uint64 // decisions that were fetched

	work  uint64        // Replica.served when the last page was done
	paged time.Duration // when that was; 0: there was none
	busy  time.Duration // when a page was done last, and callers had given work meanwhile

	names     page.Names     // of the last page that was sent
	decisions page.Decisions // likewise
	line      page.Line      // that is being written: a local one would be an allocation
	reader    page.Reader
	parsed    []page.Line // of the last page that came
}

// begin begins the pulls of a life. most is Limits.MaxValue: nothing is known of the decisions yet.
func (w *pulls) begin(most int) { w.size = most }

// plan sets when the first Pull is due; 0: none is.
func (w *pulls) plan(at time.Duration) { w.at = at }

// next returns when the first Pull is due; 0: none is.
func (w *pulls) next() time.Duration { return w.at }

// isDue reports whether a Pull is due.
func (w *pulls) isDue(now time.Duration) bool { return w.at != 0 && w.at <= now }

// fetched is called when a decision of so many bytes was fetched. Its pages may go on.
func (w *pulls) fetched(bytes int) {
	w.given++
	w.size += (bytes - w.size) / 8
	w.more = true
}

// window returns how many decisions of a page are asked for at a time.
func (w *pulls) window() int { return min(max(pullFlight/(w.size+64), 16), pullWindow) }

// mayGoOn reports whether a page may go on: see wait and fetched.
func (w *pulls) mayGoOn() bool { return w.more }

// wait notes that a page goes on when there is room.
func (w *pulls) wait() { w.more = true }

// goOn is called when the pages are about to go on.
func (w *pulls) goOn() { w.more = false }

// move notes that a cursor has moved, and is not in ServerState.Pulled.
func (w *pulls) move() { w.moved = true }

// takeMoved reports whether a cursor has moved since takeMoved was called last.
func (w *pulls) takeMoved() bool {
	moved := w.moved
	w.moved = false
	return moved
}

// ask returns the ID of a new ListAsk, which is for l.
func (w *pulls) ask(l *listing) uint64 {
	return l.asks(w.askOpen())
}

// askOpen returns the ID of a new ListAsk, which is for no pull.
func (w *pulls) askOpen() uint64 {
	w.asks++
	return w.asks
}

// wantsValues reports whether a Pull for q asks for values. It does if the last page of q was lean, and no other pull does so.
func (w *pulls) wantsValues(q *pull) bool {
	if w.giver == nil && q.lean {
		w.giver = q
	}
	return w.giver == q
}

// waits reports whether q is to wait for what the giver brings. Acceptors list decisions in about the same order.
func (w *pulls) waits(q *pull) bool {
	return w.giver != nil && w.giver != q && w.given < q.given+pullAhead
}

// isCalm is called when a page is done. It reports whether the pages may come as fast as they can: callers have given this server no work
// for a while. work is Replica.served. The first pages after a while do not come so fast: a server that is new hears of no caller yet.
func (w *pulls) isCalm(now time.Duration, work uint64) bool {
	if work != w.work || w.paged == 0 || now-w.paged > calmAfter {
		w.busy = now
	}
	w.work, w.paged = work, max(now, 1)
	return now-w.busy >= calmAfter
}

// turned is called when a page of q is done. more: another one is to come. If it is not, or if the page was not lean, q is the giver
// no more.
func (w *pulls) turned(q *pull, more bool) {
	if q.lean = q.lean && more; !q.lean && w.giver == q {
		w.giver, w.more = nil, true
	}
}

// write returns the page l, of p without the names to leave out. h is its first line, without From and To.
func (w *pulls) write(l *listing, p Page, leaveOut func(paxos.Named) bool, h page.Head) (paxos.Kind, paxos.Value) {
	from, top, values := l.question()
	var out page.Writer = &w.names
	kind := paxos.KindNames
	if values || p.listed && len(p.Names) >= page.ShortNames {
		kind, out = paxos.KindDecisions, &w.decisions
	}
	out.Reset()
	last, full := from, len(p.Names) >= page.MaxLines
	for i, n := range p.Names {
		w.line = p.line(i, values)
		if n.Index > top || !out.Fits(&w.line) {
			full = n.Index <= top
			break
		}
		last = n.Index
		if !leaveOut(n) {
			out.Add(&w.line)
		}
	}
	if !full {
		last = top
	}
	w.line = page.Line{}
	h.From, h.To = from, last
	return kind, out.Text(h)
}

// empty returns a page without a name.
func (w *pulls) empty(h page.Head) paxos.Value {
	w.names.Reset()
	return w.names.Text(h)
}

// parse reads a page. Its lines are valid until the next parse.
func (w *pulls) parse(m *paxos.Message) (h page.Head, lines []page.Line, ok bool) {
	if m.Kind == paxos.KindDecisions {
		h, lines, ok = w.reader.Parse(m.Value, w.parsed[:0], isLine)
	} else {
		h, lines, ok = page.ParseNames(m.Value, w.parsed[:0], isLine)
	}
	w.parsed = lines[:0]
	if !ok {
		clear(w.parsed[:cap(w.parsed)])
	}
	return h, lines, ok
}

// turn makes the lines that parse returned the page of q, up to Index to.
func (w *pulls) turn(q *pull, lines []page.Line, to uint64) {
	w.parsed = q.turnTo(lines, to)
	q.given = w.given
}
